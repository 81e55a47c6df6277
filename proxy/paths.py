"""PURE: what a path may turn into on its way through servers that fold it."""

import re
from urllib.parse import unquote_to_bytes

_REPEATED_DECODING = 8
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
    """Return the segments of a path as they stand, without the empty ones."""
    return [segment for segment in path.split(b"/") if segment]


def is_reserved(path: bytes) -> bool:
    """Whether an upstream might take ``path`` for one of the bank's token endpoints.

    In every spelling that some server folds: case, doubled slashes, dot segments, backslashes,
    path parameters, percent-encoding once or more often.
    """
    low = path.lower()
    if b"auth" not in low and b"%" not in low:
        return False
    parts = folded(low)
    return any(
        tuple(parts[at : at + len(name)]) == name for name in _RESERVED for at in range(len(parts))
    )


def is_ambiguous(path: bytes) -> bool:
    """Whether two servers could see two different resources in ``path``.

    Where a policy judges paths, such a path is refused: what was judged must be what is served.
    """
    decoded = unquote_to_bytes(path)
    return (
        re.search(rb"//|[\\;#\x00-\x1f\x7f]|%(?:[01].|7f)", decoded) is not None
        or re.search(rb"%(?:2f|5c|25)", path, re.IGNORECASE) is not None
        or any(part in (b".", b"..") for part in decoded.split(b"/"))
    )


def folded(path: bytes) -> list[bytes]:
    """Return the segments of ``path`` after every folding that an upstream might do."""
    for _ in range(_REPEATED_DECODING):
        decoded = unquote_to_bytes(path)
        if decoded == path:
            break
        path = decoded
    parts: list[bytes] = []
    for raw in re.split(rb"[/\\]+", path.lower()):
        part = re.split(rb"[;?#\x00]", raw, maxsplit=1)[0].strip()
        if part == b"..":
            del parts[-1:]
        elif part not in (b"", b"."):
            parts.append(part)
    return parts
