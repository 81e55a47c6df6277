"""Replaces the bank's URLs in JSON bodies by the proxy's, while the body streams.

A string that begins with the upstream's base URL is a link, and its beginning is replaced; nothing
else is parsed. In JSON an unescaped quote only begins or ends a string, and a closing quote is
never followed by an ``h``. So a few bytes are all the state that has to be kept.
"""

import re
from functools import lru_cache

from proxy.forwarding.url_rewriting import UrlRewriter
from proxy.http1.fields import without

_JSON = re.compile(rb"application/(?:json|[a-z0-9!#$&^_.+-]+\+json)\s*(?:;.*)?", re.IGNORECASE)
_BODY_DIGESTS = frozenset({b"content-md5", b"digest", b"content-digest", b"repr-digest"})
_PARTIAL = frozenset({b"accept-encoding", b"range", b"if-range"})


def request_identity_encoding(lines: list[bytes]) -> list[bytes]:
    """Return request headers that ask for a complete response without content coding."""
    return [*without(lines, _PARTIAL), b"Accept-Encoding", b": ", b"identity", b"\r\n"]


def is_rewritable(status: int, lines: list[bytes]) -> bool:
    """Whether a response's body is JSON, complete and without content coding."""
    headers = [(lines[at].lower(), lines[at + 2]) for at in range(0, len(lines), 4)]
    kinds = [value for name, value in headers if name == b"content-type"]
    codings = [value.lower() for name, value in headers if name == b"content-encoding"]
    is_json = len(kinds) == 1 and _JSON.fullmatch(kinds[0].strip()) is not None
    return status != 206 and is_json and set(codings) <= {b"identity"}


def drop_body_digests(lines: list[bytes]) -> list[bytes]:
    """Return response headers without digests of the body, which is changed.

    An ``ETag`` stays: it identifies the resource's version at the bank, and a caller's ``If-Match``
    has to send it back unchanged.
    """
    return without(lines, _BODY_DIGESTS | {b"accept-ranges"})


class JsonLinkRewriter:
    """Rewrites the links in the response to one request. Feed it the body, block by block.

    ``origin`` is the proxy's origin as the caller knows it; if it is empty, links become paths.
    ``has_base_path`` when the caller uses the base path, as in ``UrlRewriter.rewrite_url``.
    """

    def __init__(self, rewriter: UrlRewriter, origin: bytes, *, has_base_path: bool) -> None:
        self._pattern = _pattern(
            rewriter.origin, rewriter.ports, rewriter.base, has_base_path, not origin
        )
        self._replacement = b'"' + origin
        self._pending = b""
        # As many bytes as have to be seen before a link is recognised.
        self._link_prefixes = [
            b'"' + rewriter.origin + port + (rewriter.base * 2 or b"/") for port in rewriter.ports
        ]
        self._longest_prefix = 2 * max(map(len, self._link_prefixes)) + 1

    def feed(self, block: bytes) -> bytes:
        """Return the rewritten body so far; the beginning of a possible link is kept back."""
        text = self._pending + block if self._pending else block
        at = self._decided_length(text)
        self._pending = text[at:]
        if not self._pending:
            return self._pattern.sub(self._replacement, text)
        # The first byte that is kept back is context for the pattern, and not part of the result.
        return self._pattern.sub(self._replacement, text[: at + 1])[:-1]

    def finish(self) -> bytes:
        """Return the rest, at the end of the body."""
        pending, self._pending = self._pending, b""
        return self._pattern.sub(self._replacement, pending)

    def _decided_length(self, text: bytes) -> int:
        """Return how much of the text can be rewritten now."""
        quote = text.rfind(b'"', max(0, len(text) - self._longest_prefix))
        if quote >= 0 and text[quote - 1 : quote] != b"\\" and self._may_become_link(text[quote:]):
            return quote
        # A backslash at the end may escape a quote that follows.
        return len(text) - 1 if text[-1:] == b"\\" else len(text)

    def _may_become_link(self, tail: bytes) -> bool:
        plain = tail.replace(b"\\/", b"/").removesuffix(b"\\")
        return any(prefix.startswith(plain) for prefix in self._link_prefixes)


@lru_cache(maxsize=64)
def _pattern(
    origin: bytes, ports: tuple[bytes, ...], base: bytes, has_base_path: bool, relative: bool
) -> "re.Pattern[bytes]":
    """Return the pattern of a link's replaced part: a quote, the origin, and the base if removed.

    A slash may be escaped with a backslash. The rest must look neither like another host (``//``)
    nor like a path with the base path.
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
