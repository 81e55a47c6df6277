"""Looks for secrets where none may be: in text that was written, and in the repr of objects."""

import asyncio
import gc
import traceback
import types
from base64 import b64encode
from collections import deque
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote_plus

from multidict import CIMultiDict, CIMultiDictProxy

_PLAIN = (str, bytes, bytearray, memoryview, int, float, complex, bool, type(None))
"""What is shown only where somebody shows it; so are the containers below."""

_CONTAINERS = (
    *(dict, list, tuple, set, frozenset, deque, types.MappingProxyType),
    *(CIMultiDict, CIMultiDictProxy),  # what aiohttp keeps headers in
)
_NOT_OURS = (types.ModuleType, type, asyncio.AbstractEventLoop)
"""Behind these stands the whole program, this test included."""


class SecretSearch:
    """Knows secrets, takes text by where it stood, and says which secrets stand in it."""

    def __init__(self) -> None:
        self._secrets: dict[str, str] = {}
        self._texts: list[tuple[str, str]] = []

    def secret(self, name: str, text: str) -> str:
        """Remember a secret under a name, and return it."""
        self._secrets[name] = text
        return text

    def add(self, where: str, text: str | bytes) -> None:
        """Take what stood somewhere."""
        self._texts.append((where, text.decode("latin-1") if isinstance(text, bytes) else text))

    def leaks(self) -> list[str]:
        """Return which secret stands where, in plain or in a usual disguise."""
        return sorted(
            {
                f"{name} in {where}"
                for where, text in self._texts
                for name, secret in self._secrets.items()
                if any(form in text for form in forms(secret))
            }
        )


def forms(secret: str) -> set[str]:
    """Return a secret as it is, percent-encoded, and as it looks within base64."""
    raw = secret.encode()
    # Within base64 a text looks differently by where it begins, and its ends are blurred.
    shifted = (b64encode(b"\0" * at + raw).decode()[4 if at else 0 : -4] for at in range(3))
    return {secret, quote_plus(secret), *(form for form in shifted if len(form) >= 8)}


def reprs(root: object) -> Iterator[tuple[str, str]]:
    """Return the repr of every object that can be reached from ``root``, and what kind it is.

    Of an exception also its traceback, as a log would have it.
    """
    seen = {id(root)}
    waiting = deque([root])
    while waiting:
        one = waiting.popleft()
        if not isinstance(one, _CONTAINERS):
            yield type(one).__qualname__, shown(one)
        if isinstance(one, BaseException):
            yield "traceback", "".join(traceback.format_exception(one))
        for other in _behind(one):
            if id(other) not in seen and not isinstance(other, (*_PLAIN, *_NOT_OURS)):
                seen.add(id(other))
                waiting.append(other)


def _behind(one: Any) -> list[Any]:
    if isinstance(one, types.FunctionType):
        # What it closes over, not the modules behind it.
        return [cell.cell_contents for cell in one.__closure__ or () if _is_filled(cell)]
    if isinstance(one, types.FrameType | types.TracebackType):
        return []
    found = gc.get_referents(one)
    if isinstance(one, BaseException):
        found += [one.__cause__, one.__context__]
    return found


def _is_filled(cell: Any) -> bool:
    try:
        _ = cell.cell_contents
    except ValueError:
        return False
    return True


def shown(one: object) -> str:
    """Return the repr of an object, or of the failure to make one."""
    try:
        return repr(one)
    except Exception as error:  # noqa: BLE001 - that too is what somebody would see
        return repr(error)
