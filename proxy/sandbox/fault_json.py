"""Converts faults from and to JSON.

The fields are those of ``faults.Fault``. ``body`` (or ``body_base64``) is a ``shape`` of bytes,
``wire`` (or ``wire_base64``) a whole response as raw bytes.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from proxy.sandbox.faults import UNTOUCHED, Fault


def fault_from(mapping: Mapping[str, Any]) -> Fault:
    """Return a fault from a JSON object. Raises ``ValueError`` that names the field."""
    values = dict(mapping)
    if unknown := sorted(set(values) - _FAULT_NAMES):
        raise ValueError(
            f"{unknown[0]}: no such field; known are {', '.join(sorted(_FAULT_NAMES))}"
        )
    if "where" not in values:
        raise ValueError("where: missing")
    for name, value in values.items():
        _check_type(name, value)
    for source, target in (("body", "shape"), ("wire", "wire")):
        if source in values:
            values[target] = values.pop(source).encode()
        if (encoded := source + "_base64") in values:
            values[target] = _decoded(encoded, values.pop(encoded))
    if "without" in values:
        values["without"] = tuple(values["without"])
    return Fault(**values)


def shown_fault(fault: Fault) -> dict[str, Any]:
    """Return the fields of a fault that are set, and how often it was ``used``."""
    values = {entry.name: getattr(fault, entry.name) for entry in fields(Fault)}
    plain = {
        name: value.decode("latin-1") if isinstance(value, bytes) else value
        for name, value in values.items()
        if value is not UNTOUCHED and value != _DEFAULTS.get(name, UNTOUCHED)
    }
    return plain | {"used": fault.used}


_FAULT_TYPES: dict[str, tuple[type, ...]] = {
    "times": (int, type(None)),
    "status": (int,),
    "size": (int,),
    "skip": (int,),
    "delay": (int, float),
    "dribble": (int, float),
    "keep_open": (bool,),
    "hang": (bool,),
    "reset": (bool,),
    "cut": (bool,),
    "after_head": (bool,),
    "late": (bool,),
    "unread": (bool,),
    "headers": (dict,),
    "without": (list,),
}
_EXTRA = {"body", "body_base64", "wire_base64"}
_FAULT_NAMES = {entry.name for entry in fields(Fault)} - {"used"} | _EXTRA


def _check_type(name: str, value: Any) -> None:
    if name in ("expires_in", "token_text"):
        return
    kinds = _FAULT_TYPES.get(name, (str,))
    if not _is_any(value, kinds):
        raise ValueError(f"{name}: expected {' or '.join(kind.__name__ for kind in kinds)}")
    if isinstance(value, (int, float)) and value < 0:
        raise ValueError(f"{name}: expected zero or more")
    if name in ("headers", "without"):
        texts = list(value.values()) if name == "headers" else value
        if not all(isinstance(text, str) for text in texts):
            raise ValueError(f"{name}: expected strings")


def _is_any(value: object, kinds: tuple[type, ...]) -> bool:
    """``isinstance``, but a bool is not a number."""
    return isinstance(value, kinds) and (bool in kinds or not isinstance(value, bool))


def _decoded(name: str, text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        raise ValueError(f"{name}: expected base64") from None


_DEFAULTS = {
    name: value
    for name, value in vars(Fault("any")).items()
    if value is not UNTOUCHED and name not in ("where", "used")
}
