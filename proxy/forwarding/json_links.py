"""PURE: the bank's URLs in JSON bodies, told as ours while the body streams through.

A string that begins with the upstream's base URL is a link, and its beginning is replaced; nothing
else is read. In JSON a quote without a backslash before it stands only at an end of a string, and
behind its last one there is never an ``h``. So no state but a few bytes has to be kept.
"""

import re
from functools import lru_cache

from proxy.forwarding.url_rewriting import UrlRewriter
from proxy.http1.fields import without

_JSON = re.compile(rb"application/(?:json|[a-z0-9!#$&^_.+-]+\+json)\s*(?:;.*)?", re.IGNORECASE)
_BODY_DIGESTS = frozenset({b"content-md5", b"digest", b"content-digest", b"repr-digest"})
_PARTIAL = frozenset({b"accept-encoding", b"range", b"if-range"})


def request_identity_encoding(lines: list[bytes]) -> list[bytes]:
    """Return the headers of a request whose answer is to be read: whole, and without a coding."""
    return [*without(lines, _PARTIAL), b"Accept-Encoding", b": ", b"identity", b"\r\n"]


def is_rewritable(status: int, lines: list[bytes]) -> bool:
    """Whether an answer's body is JSON, whole and without a coding."""
    headers = [(lines[at].lower(), lines[at + 2]) for at in range(0, len(lines), 4)]
    kinds = [value for name, value in headers if name == b"content-type"]
    codings = [value.lower() for name, value in headers if name == b"content-encoding"]
    is_json = len(kinds) == 1 and _JSON.fullmatch(kinds[0].strip()) is not None
    return status != 206 and is_json and set(codings) <= {b"identity"}


def drop_body_digests(lines: list[bytes]) -> list[bytes]:
    """Return the headers of an answer whose body is changed: without digests of what it was.

    An ``ETag`` stays. It is the bank's word for the resource, not for these bytes, and an
    ``If-Match`` that comes with it has to reach the bank as it was given.
    """
    return without(lines, _BODY_DIGESTS | {b"accept-ranges"})


class JsonLinkRewriter:
    """What is replaced in the answers to one request. Feed it the body, block by block.

    ``origin`` is our origin as the caller knows it, or empty, and links then become paths;
    ``has_base_path`` when the caller uses the base path, as in ``UrlRewriter.shown``.
    """

    def __init__(self, rewriter: UrlRewriter, origin: bytes, *, has_base_path: bool) -> None:
        self._pattern = _pattern(
            rewriter.origin, rewriter.ports, rewriter.base, has_base_path, not origin
        )
        self._replacement = b'"' + origin
        self._pending = b""
        # The longest that has to be seen before it is decided.
        self._link_prefixes = [
            b'"' + rewriter.origin + port + (rewriter.base * 2 or b"/") for port in rewriter.ports
        ]
        self._longest_prefix = 2 * max(map(len, self._link_prefixes)) + 1

    def feed(self, block: bytes) -> bytes:
        """Return what is decided of the body so far; what may be half a link is kept."""
        text = self._pending + block if self._pending else block
        at = self._decided_length(text)
        self._pending = text[at:]
        if not self._pending:
            return self._pattern.sub(self._replacement, text)
        # The byte that is kept back is looked at, not replaced.
        return self._pattern.sub(self._replacement, text[: at + 1])[:-1]

    def finish(self) -> bytes:
        """Return the rest, when the body has ended."""
        pending, self._pending = self._pending, b""
        return self._pattern.sub(self._replacement, pending)

    def _decided_length(self, text: bytes) -> int:
        """Return where what cannot be decided yet begins; the length of the text if nothing."""
        quote = text.rfind(b'"', max(0, len(text) - self._longest_prefix))
        if quote >= 0 and text[quote - 1 : quote] != b"\\" and self._may_become_link(text[quote:]):
            return quote
        # Before a quote this would say that the quote is none.
        return len(text) - 1 if text[-1:] == b"\\" else len(text)

    def _may_become_link(self, tail: bytes) -> bool:
        plain = tail.replace(b"\\/", b"/").removesuffix(b"\\")
        return any(prefix.startswith(plain) for prefix in self._link_prefixes)


@lru_cache(maxsize=64)
def _pattern(
    origin: bytes, ports: tuple[bytes, ...], base: bytes, has_base_path: bool, relative: bool
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
    if has_base_path:
        return re.compile(start + stays)
    goes = rb"%b(?=%b)(?!%b%b)" % (written, path, written, below)
    return re.compile(start + rb"(?:%b|%b)" % (goes, stays))
