"""PURE: what a request is for: the token it takes and the target it has upstream, or a refusal."""

import re
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from proxy.errors import CallerError
from proxy.tokens.token import TokenKind

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_RESERVED = (
    (b"oauth2",),
    (b"v1", b"oauth"),
    (b"v1", b"auth-code"),
    (b"v1", b"client-authorization"),
)
_REPEATED_DECODING = 8


@dataclass(frozen=True, slots=True)
class Route:
    """Where a request goes. ``based`` when the caller's target already had the base path."""

    kind: TokenKind
    target: bytes
    based: bool


class Router:
    """Decides for one upstream, whose ``base_path`` (``""`` or ``/digitalbanking``) is fixed."""

    def __init__(self, base_path: str) -> None:
        self._base = base_path.encode("ascii")

    def route(self, method: str, target: bytes) -> Route:
        """Return the route of a request; raises ``CallerError`` where it is refused.

        ``target`` is the request-target as it came; it goes on byte for byte behind the base
        path, which is not put in front of it twice.
        """
        if method not in _METHODS:
            raise CallerError(405, "method", "This method is not forwarded.")
        if not target.startswith(b"/"):
            raise CallerError(
                400, "target", "Send the path of the resource only, beginning with a slash."
            )
        path = target.split(b"?", 1)[0]
        based = self._is_based(path)
        if is_reserved(path if based else self._base + path):
            raise CallerError(
                403, "reserved", "Tokens are the proxy's work; their endpoints are not forwarded."
            )
        return Route(TokenKind.V2, target if based else self._base + target, based)

    def _is_based(self, path: bytes) -> bool:
        base = self._base
        return path.startswith(base) and (
            not base or path[len(base) : len(base) + 1] in (b"", b"/")
        )


def is_reserved(path: bytes) -> bool:
    """Whether an upstream might take ``path`` for one of the bank's token endpoints.

    In every spelling that some server folds: case, doubled slashes, dot segments, backslashes,
    path parameters, percent-encoding once or more often.
    """
    low = path.lower()
    if b"auth" not in low and b"%" not in low:
        return False
    segments = normalised(low)
    return any(
        tuple(segments[at : at + len(name)]) == name
        for name in _RESERVED
        for at in range(len(segments))
    )


def normalised(path: bytes) -> list[bytes]:
    """Return the segments of ``path`` after every folding that an upstream might do."""
    for _ in range(_REPEATED_DECODING):
        decoded = unquote_to_bytes(path)
        if decoded == path:
            break
        path = decoded
    segments: list[bytes] = []
    for raw in re.split(rb"[/\\]+", path.lower()):
        segment = re.split(rb"[;?#\x00]", raw, maxsplit=1)[0].strip()
        if segment == b"..":
            del segments[-1:]
        elif segment not in (b"", b"."):
            segments.append(segment)
    return segments
