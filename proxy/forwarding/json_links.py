"""PURE: the bank's URLs in JSON bodies, told as ours while the body streams through.

A string that begins with the upstream's base URL is a link, and its beginning is replaced; nothing
else is read. In JSON a quote without a backslash before it stands only at an end of a string, and
behind its last one there is never an ``h``. So no state but a few bytes has to be kept.
"""

import re
from functools import lru_cache

from proxy.forwarding.url_rewriting import Names
from proxy.http1.fields import without

_JSON = re.compile(rb"application/(?:json|[a-z0-9!#$&^_.+-]+\+json)\s*(?:;.*)?", re.IGNORECASE)
_UNTRUE = frozenset({b"content-md5", b"digest", b"content-digest", b"repr-digest"})
_PARTIAL = frozenset({b"accept-encoding", b"range", b"if-range"})


def asking(lines: list[bytes]) -> list[bytes]:
    """Return the headers of a request whose answer is to be read: whole, and without a coding."""
    return [*without(lines, _PARTIAL), b"Accept-Encoding", b": ", b"identity", b"\r\n"]


def is_readable(status: int, lines: list[bytes]) -> bool:
    """Whether an answer's body is JSON, whole and without a coding."""
    headers = [(lines[at].lower(), lines[at + 2]) for at in range(0, len(lines), 4)]
    kinds = [value for name, value in headers if name == b"content-type"]
    codings = [value.lower() for name, value in headers if name == b"content-encoding"]
    is_json = len(kinds) == 1 and _JSON.fullmatch(kinds[0].strip()) is not None
    return status != 206 and is_json and set(codings) <= {b"identity"}


def changed(lines: list[bytes]) -> list[bytes]:
    """Return the headers of an answer whose body is changed: without digests of what it was.

    An ``ETag`` stays. It is the bank's word for the resource, not for these bytes, and an
    ``If-Match`` that comes with it has to reach the bank as it was given.
    """
    return without(lines, _UNTRUE | {b"accept-ranges"})


class Links:
    """What is replaced in the answers to one request. Feed it the body, block by block.

    ``seen`` is our origin as the caller knows it, or empty, and links then become paths;
    ``based`` when the caller uses the base path, as in ``Names.shown``.
    """

    def __init__(self, names: Names, seen: bytes, *, based: bool) -> None:
        self._pattern = _pattern(names.origin, names.ports, names.base, based, not seen)
        self._new = b'"' + seen
        self._held = b""
        # The longest that has to be seen before it is decided.
        self._whole = [
            b'"' + names.origin + port + (names.base * 2 or b"/") for port in names.ports
        ]
        self._reach = 2 * max(map(len, self._whole)) + 1

    def feed(self, block: bytes) -> bytes:
        """Return what is decided of the body so far; what may be half a link is kept."""
        text = self._held + block if self._held else block
        at = self._undecided(text)
        self._held = text[at:]
        if not self._held:
            return self._pattern.sub(self._new, text)
        # The byte that is kept back is looked at, not replaced.
        return self._pattern.sub(self._new, text[: at + 1])[:-1]

    def finish(self) -> bytes:
        """Return the rest, when the body has ended."""
        rest, self._held = self._held, b""
        return self._pattern.sub(self._new, rest)

    def _undecided(self, text: bytes) -> int:
        """Return where what cannot be decided yet begins; the length of the text if nothing."""
        quote = text.rfind(b'"', max(0, len(text) - self._reach))
        if quote >= 0 and text[quote - 1 : quote] != b"\\" and self._may_grow(text[quote:]):
            return quote
        # Before a quote this would say that the quote is none.
        return len(text) - 1 if text[-1:] == b"\\" else len(text)

    def _may_grow(self, tail: bytes) -> bool:
        plain = tail.replace(b"\\/", b"/").removesuffix(b"\\")
        return any(whole.startswith(plain) for whole in self._whole)


@lru_cache(maxsize=64)
def _pattern(
    origin: bytes, ports: tuple[bytes, ...], base: bytes, based: bool, relative: bool
) -> "re.Pattern[bytes]":
    """Return the pattern of what is replaced: a quote, the origin, and the base if that goes too.

    A slash may have a backslash before it. Nothing that would look like another host is left
    behind, and no path that would look like one with its base.
    """
    scheme, _, host = origin.partition(b"//")
    either = (scheme, scheme, re.escape(host), b"|".join(ports))
    start = rb'"%b(?<!\\"%b)\\?/\\?/%b(?:%b)' % either
    below, path = rb'(?:[?#"]|\\?/)', rb"\\?/(?!\\?/)"
    if not base:
        return re.compile(start + (rb"(?=%b)" if relative else rb'(?=[?#"]|%b)') % path)
    written = re.escape(base).replace(b"/", rb"\\?/")
    stays = rb"(?=%b%b)" % (written, below)
    if based:
        return re.compile(start + stays)
    goes = rb"%b(?=%b)(?!%b%b)" % (written, path, written, below)
    return re.compile(start + rb"(?:%b|%b)" % (goes, stays))
