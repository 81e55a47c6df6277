"""Removes secrets from log lines."""

import re
from collections.abc import MutableMapping
from typing import Any

from proxy.http1.bounded_cache import BoundedCache

EventDict = MutableMapping[str, Any]

_SECRET_NAMES = re.compile(
    r"authoriz|secret|password|token$|access_token|bearer|cookie", re.IGNORECASE
)
_SECRET_TEXT = re.compile(r"(?i)\b(bearer|basic)\s+\S{6,}")
_HIDDEN = "[hidden]"


_PLAIN = frozenset({bool, float, int, type(None)})


def redact(_logger: Any, _method: str, event: EventDict) -> EventDict:
    """Hide values under secret names, and credentials within text (a structlog processor)."""
    for name, value in event.items():
        kind = type(value)
        if _IS_SECRET[name]:
            event[name] = _HIDDEN
        elif kind is str:
            if not value.isalnum() and _SECRET_TEXT.search(value):
                event[name] = _harmless(name, value)
        elif kind not in _PLAIN:
            event[name] = _harmless(name, value)
    return event


def _has_secret_name(name: str) -> bool:
    return _SECRET_NAMES.search(name) is not None


_IS_SECRET: BoundedCache[str, bool] = BoundedCache(_has_secret_name, len)


def _harmless(name: object, value: Any) -> Any:
    """Return ``value`` without secrets, also within containers."""
    if _IS_SECRET[_text(name)]:
        return _HIDDEN
    match value:
        case None | bool() | int() | float():
            return value
        case dict():
            return {_text(key): _harmless(key, inner) for key, inner in value.items()}
        case (str() | bytes() as key, inner):  # a header, as aiohttp represents it
            return [_text(key), _harmless(key, inner)]
        case list() | tuple() | set() | frozenset():
            return [_harmless("", inner) for inner in value]
    return harmless_text(_text(value))


def harmless_text(text: str) -> str:
    """Return ``text`` without the credentials in it."""
    # Credentials follow a scheme and a space; other white space is not printable.
    if " " not in text and text.isprintable():
        return text
    return _SECRET_TEXT.sub(rf"\1 {_HIDDEN}", text)


def _text(value: object) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)
