"""PURE: what a path may turn into on its way through servers that fold it."""

import re
from collections.abc import Iterator
from urllib.parse import unquote_to_bytes

_REPEATED_DECODING = 8
_OVERLONG = re.compile(rb"(?:[\xc0\xc1]|(?:\xe0|\xf0\x80)[\x80\x81])[\x80-\xbf]")
_RESERVED = (
    (b"oauth2",),
    (b"v1", b"oauth"),
    (b"v1", b"auth-code"),
    (b"v1", b"client-authorization"),
)


def split_target(target: bytes) -> tuple[bytes, bytes]:
    """Return the path of a request-target and what follows it, ``?`` included."""
    path, mark, query = target.partition(b"?")
    return path, mark + query


def segments(path: bytes) -> list[bytes]:
    """Return the segments of a path, each percent-decoded once, without the empty ones."""
    return [unquote_to_bytes(segment) for segment in path.split(b"/") if segment]


def is_reserved(path: bytes) -> bool:
    """Whether an upstream might take ``path`` for one of the bank's token endpoints.

    In every spelling that some server folds: case, doubled slashes, dot segments, backslashes,
    path parameters, overlong UTF-8, percent-encoding once or more often.
    """
    low = path.lower()
    if b"auth" not in low and b"%" not in low and low.isascii():
        return False
    return any(_names_reserved(parts) for parts in readings(low))


def _names_reserved(parts: list[bytes]) -> bool:
    return any(
        tuple(parts[at : at + len(name)]) == name for name in _RESERVED for at in range(len(parts))
    )


def is_ambiguous(path: bytes) -> bool:
    """Whether two servers could see two different resources in ``path``.

    Where a policy judges paths, such a path is refused: what was judged must be what is served.
    """
    decoded = unquote_to_bytes(path)
    return (
        re.search(rb"//|[\\;#\x00-\x1f\x7f]", decoded) is not None
        or re.search(rb"%(?:2f|5c|25)", path, re.IGNORECASE) is not None
        or _OVERLONG.search(decoded) is not None
        or unquote_to_bytes(decoded) != decoded
        or any(part in (b".", b"..") for part in decoded.split(b"/"))
    )


def readings(path: bytes) -> Iterator[list[bytes]]:
    """Yield the segments of ``path`` as each of the servers behind us may come to see them.

    One decodes more often than another, and one takes dot segments away where another leaves
    them; so each combination is a reading of its own.
    """
    for _ in range(_REPEATED_DECODING):
        parts = _folded(path)
        yield parts
        yield _without_dots(parts)
        decoded = unquote_to_bytes(path)
        if decoded == path:
            return
        path = decoded


def _folded(path: bytes) -> list[bytes]:
    plain = _OVERLONG.sub(_short_form, path).lower()
    raw = re.split(rb"[/\\]+", plain)
    parts = (re.split(rb"[;?#\x00]", part, maxsplit=1)[0].strip() for part in raw)
    return [part for part in parts if part not in (b"", b".")]


def _short_form(overlong: re.Match[bytes]) -> bytes:
    high, low = overlong[0][-2:]
    return bytes([(high & 1) << 6 | low & 0x3F])


def _without_dots(parts: list[bytes]) -> list[bytes]:
    result: list[bytes] = []
    for part in parts:
        if part == b"..":
            del result[-1:]
        else:
            result.append(part)
    return result


def has_base(path: bytes, base: bytes) -> bool:
    """Whether ``path`` begins with the base path, as every path does with an empty one."""
    if not base:
        return True
    return path.startswith(base) and path[len(base) : len(base) + 1] in (b"", b"/")
