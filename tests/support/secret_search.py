"""Searches text and the repr of objects for secrets."""

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
"""Types whose own repr is not checked: only objects that contain them show them."""

_CONTAINERS = (
    *(dict, list, tuple, set, frozenset, deque, types.MappingProxyType),
    *(CIMultiDict, CIMultiDictProxy),  # what aiohttp keeps headers in
)
_NOT_OURS = (types.ModuleType, type, asyncio.AbstractEventLoop)
"""Types that refer to the whole program, this test included."""


class SecretSearch:
    """Records secrets and texts, and finds the secrets in the texts."""

    def __init__(self) -> None:
        self._secrets: dict[str, str] = {}
        self._texts: list[tuple[str, str]] = []

    def secret(self, name: str, text: str) -> str:
        """Record a secret under a name, and return it."""
        self._secrets[name] = text
        return text

    def add(self, where: str, text: str | bytes) -> None:
        """Record a text and the place it is from."""
        self._texts.append((where, text.decode("latin-1") if isinstance(text, bytes) else text))

    def leaks(self) -> list[str]:
        """Return which secret is in which place, plain or in a usual encoding."""
        return sorted(
            {
                f"{name} in {where}"
                for where, text in self._texts
                for name, secret in self._secrets.items()
                if any(form in text for form in forms(secret))
            }
        )


def forms(secret: str) -> set[str]:
    """Return a secret plain, percent-encoded, and as within base64."""
    raw = secret.encode()
    # Within base64 the form of a text depends on its offset modulo 3; both ends share characters.
    shifted = (b64encode(b"\0" * at + raw).decode()[4 if at else 0 : -4] for at in range(3))
    return {secret, quote_plus(secret), *(form for form in shifted if len(form) >= 8)}


def reprs(root: object) -> Iterator[tuple[str, str]]:
    """Yield type name and repr of every object reachable from ``root``.

    For an exception its formatted traceback follows.
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
        # The closure only, not the globals of its module.
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
    """Return the repr of an object, or of the exception that making it raises."""
    try:
        return repr(one)
    except Exception as error:  # noqa: BLE001 - an exception can show a secret, too
        return repr(error)
