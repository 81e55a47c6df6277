"""Which headers pass, in both directions.

Outbound headers are built anew: without hop-by-hop fields and those named by ``Connection``
(RFC 9110 section 7.6.1), without the caller's copies of the proxy's own (in any case, with ``_``,
``-`` or neither), and with the proxy's own at the end. The caller's request is never changed.
"""

import re
from collections.abc import Iterable
from enum import IntEnum

from proxy.errors import CallerError, kinds
from proxy.http1.bounded_cache import BoundedCache
from proxy.http1.fields import CONNECTION_OPTIONS, RawHeaders, without
from proxy.tokens.token import Token, TokenKind

_HOP_BY_HOP = frozenset(
    {
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"upgrade",
    }
)
_OWNED = frozenset({b"authorization", b"institutionid", b"transactionid", b"difiid", b"ditid"})
# They name another method or path than the request line, which is the one that was checked.
_OVERRIDES = frozenset(
    {
        *(b"x-http-method", b"x-method", b"x-method-override", b"x-override-method"),
        *(b"x-http-path-override", b"x-http-url-override", b"x-override-url"),
        *(
            b"x-%b-%b" % (which, what)
            for which in (b"original", b"rewrite", b"forwarded", b"http-method", b"request")
            for what in (b"method", b"path", b"uri", b"url", b"override")
        ),
        *(b"x-envoy-original-method", b"x-envoy-original-path"),
    }
)
_URL_HEADERS = frozenset({b"location", b"content-location", b"link", b"refresh"})
_UUID = re.compile(rb"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


class HeaderRule(IntEnum):
    """How a header of a given name is handled."""

    PASS = 0
    DROP = 1
    CONNECTION = 2
    TRANSFER_ENCODING = 3
    CONTENT_LENGTH = 4
    EXPECT = 5
    HOST = 6
    TRANSACTION = 7
    CORRELATION = 8
    LOCATION = 9
    INSTITUTION = 10
    TID = 11
    CUSTOMER = 12
    ENCODING = 13
    SITE = 14
    ORIGIN = 15
    UPGRADE = 16
    PREFLIGHT = 17
    VIA = 18


# Headers that callers may set, in the documented spelling only; other spellings are dropped.
_CALLER_CHOICES = {
    b"institutionid": HeaderRule.INSTITUTION,
    b"transactionid": HeaderRule.TRANSACTION,
    b"di_tid": HeaderRule.TID,
}
# Headers that pass and replace the proxy's own.
_NOTED_HEADERS = {
    b"correlationid": HeaderRule.CORRELATION,
    b"institutioncustomerid": HeaderRule.CUSTOMER,
}
_NAMED = {
    b"connection": HeaderRule.CONNECTION,
    b"transfer-encoding": HeaderRule.TRANSFER_ENCODING,
    b"content-length": HeaderRule.CONTENT_LENGTH,
    b"host": HeaderRule.HOST,
    b"sec-fetch-site": HeaderRule.SITE,
    b"origin": HeaderRule.ORIGIN,
    b"upgrade": HeaderRule.UPGRADE,
    b"access-control-request-method": HeaderRule.PREFLIGHT,
    b"access-control-request-headers": HeaderRule.PREFLIGHT,
    b"access-control-request-private-network": HeaderRule.PREFLIGHT,
    b"via": HeaderRule.VIA,
}
# Rules for requests only; in a response these headers pass.
_REQUEST_ONLY = frozenset(
    {
        *(HeaderRule.HOST, HeaderRule.SITE, HeaderRule.ORIGIN, HeaderRule.UPGRADE),
        *(HeaderRule.PREFLIGHT, HeaderRule.VIA),
    }
)


def classify_request_header(name: bytes) -> HeaderRule:
    """Return the rule for a header of a request; cached, because names repeat."""
    low = name.lower()
    if low in _CALLER_CHOICES:
        return _CALLER_CHOICES[low]
    dashed = low.replace(b"_", b"-")
    bare = dashed.replace(b"-", b"")
    if low == b"upgrade":
        return HeaderRule.UPGRADE
    if (
        dashed in _HOP_BY_HOP
        or dashed in _OVERRIDES
        or bare in _OWNED
        or (dashed != low and dashed in _NAMED)
    ):
        return HeaderRule.DROP
    if bare in _NOTED_HEADERS:
        return _NOTED_HEADERS[bare]
    return HeaderRule.EXPECT if low == b"expect" else _NAMED.get(low, HeaderRule.PASS)


def classify_response_header(name: bytes) -> HeaderRule:
    """Return the rule for a header of a response."""
    low = name.lower()
    if low in _HOP_BY_HOP or low in (b"transfer-encoding", b"x-proxy-error-source"):
        return HeaderRule.DROP
    if low == b"transactionid":
        return HeaderRule.TRANSACTION
    if low == b"di_tid":
        return HeaderRule.TID
    if low in _URL_HEADERS:
        return HeaderRule.LOCATION
    if low == b"content-encoding":
        return HeaderRule.ENCODING
    rule = _NAMED.get(low, HeaderRule.PASS)
    return HeaderRule.PASS if rule in _REQUEST_ONLY else rule


# Module constants, because access to an enum member costs more than the copy of a header.
_REQUEST_RULES: BoundedCache[bytes, HeaderRule] = BoundedCache(classify_request_header, len)
_RESPONSE_RULES: BoundedCache[bytes, HeaderRule] = BoundedCache(classify_response_header, len)
_PASS, _DROP, _HOST_RULE, _CONNECTION = (
    HeaderRule.PASS,
    HeaderRule.DROP,
    HeaderRule.HOST,
    HeaderRule.CONNECTION,
)


class CallerHeaders:
    """A caller's headers, parsed: the lines that pass, and the values that the proxy needs.

    ``needs_host`` is false for HTTP/1.0 (RFC 9112 section 3.2); without one, ``host`` is empty.
    ``lines`` is the flat list of those sent upstream unchanged. ``length`` is the declared body
    length in bytes, ``chunked`` the other framing; never both. ``origin`` is set by the forwarder
    if the target is in absolute form. ``is_of_browser`` is set by headers that ``browser_policy``
    checks: ``page_origins``, ``fetch_site`` or ``upgrade``. Raises ``CallerError`` for headers
    that two HTTP parsers could read differently.
    """

    length: int | None = None
    chunked = False
    expects_continue = False
    has_correlation_id = False
    has_customer_id = False
    transaction_id: bytes | None = None
    tid: bytes | None = None
    institution: bytes | None = None
    host = b""
    origin = b""
    is_of_browser = False
    page_origins: list[bytes] = []  # noqa: RUF012 - never changed, only replaced
    fetch_site = b""
    upgrade = b""
    via = b""
    preflight_method = b""
    preflight_headers = b""
    asks_private_network = False

    def __init__(self, raw: RawHeaders, *, needs_host: bool = True) -> None:
        lines: list[bytes] = []
        self.lines = lines
        connection_named: frozenset[bytes] = frozenset()
        hosts = 0
        for name, value in raw:
            if not value.isascii():
                raise CallerError(kinds.BAD_HEADER)
            rule = _REQUEST_RULES[name]
            if rule is _PASS:
                lines += (name, b": ", value, b"\r\n")
            elif rule is _HOST_RULE:
                hosts += 1
                self.host = _HOSTS[value]
            elif rule is _CONNECTION:
                connection_named |= CONNECTION_OPTIONS[value]
            elif rule is not _DROP:
                self._note(rule, name, value)
        if hosts > 1 or hosts < needs_host:
            raise CallerError(kinds.BAD_HOST, "A request needs exactly one Host header.")
        if connection_named:
            self._remove(connection_named)

    def _remove(self, connection_named: frozenset[bytes]) -> None:
        self.lines = without(self.lines, connection_named)
        left = {_REQUEST_RULES[name] for name in self.lines[::4]}
        self.has_correlation_id = HeaderRule.CORRELATION in left
        self.has_customer_id = HeaderRule.CUSTOMER in left

    def _note(self, rule: HeaderRule, name: bytes, value: bytes) -> None:
        if rule is HeaderRule.CONTENT_LENGTH or rule is HeaderRule.TRANSFER_ENCODING:
            self._note_framing(rule, value)
        elif rule is HeaderRule.EXPECT:
            self.expects_continue = value.lower() == b"100-continue"
        elif rule is HeaderRule.TRANSACTION:
            self.transaction_id = _only(self.transaction_id, value)
        elif rule is HeaderRule.TID:
            self.tid = _only(self.tid, value)
        elif rule is HeaderRule.INSTITUTION:
            if self.institution not in (None, value):
                raise CallerError(kinds.INSTITUTION_CONFLICT, "Two institutionId headers differ.")
            self.institution = value
        elif rule is HeaderRule.VIA:
            self.via += value
            self.lines += (name, b": ", value, b"\r\n")
        elif rule >= HeaderRule.SITE:
            self._note_browser(rule, name, value)
        else:
            self.has_correlation_id |= rule is HeaderRule.CORRELATION
            self.has_customer_id |= rule is HeaderRule.CUSTOMER
            self.lines += (name, b": ", value, b"\r\n")

    def _note_browser(self, rule: HeaderRule, name: bytes, value: bytes) -> None:
        self.is_of_browser = True
        if rule is HeaderRule.UPGRADE:
            self.upgrade = value  # hop-by-hop: it does not pass
            return
        self.lines += (name, b": ", value, b"\r\n")
        if rule is HeaderRule.SITE:
            self.fetch_site = value
        elif rule is HeaderRule.ORIGIN:
            self.page_origins = [*self.page_origins, value]
        elif name.lower().endswith(b"-method"):
            self.preflight_method = value
        elif name.lower().endswith(b"-headers"):
            self.preflight_headers = value
        else:
            self.asks_private_network = value.lower() == b"true"

    def _note_framing(self, rule: HeaderRule, value: bytes) -> None:
        if self.length is not None or self.chunked:
            raise CallerError(kinds.BAD_FRAMING)
        if rule is HeaderRule.CONTENT_LENGTH:
            if not value.isdigit() or len(value) > 18:
                raise CallerError(kinds.BAD_FRAMING)
            self.length = int(value)
        elif value.lower() == b"chunked":
            self.chunked = True
        else:
            raise CallerError(kinds.TRANSFER_ENCODING)


def _only(previous: bytes | None, value: bytes) -> bytes:
    # With two different ids neither is kept.
    return value if previous is None and _UUID.fullmatch(value) else b""


_HOST = re.compile(rb"(?:[A-Za-z0-9._~!$&'()*+,;=-]+|\[[0-9A-Fa-f:.]+\])(?::(\d{0,5}))?")


def _host(value: bytes) -> bytes:
    match = _HOST.fullmatch(value)
    if match is None or int(match[1] or 0) > 65535:
        raise CallerError(kinds.BAD_HOST, "The Host header is not a host with an optional port.")
    return value


_HOSTS: BoundedCache[bytes, bytes] = BoundedCache(_host, len)


# Avoids encoding the usual methods for each request.
_METHODS = {"GET": b"GET", "POST": b"POST", "PUT": b"PUT", "PATCH": b"PATCH", "DELETE": b"DELETE"}


def request_head(
    method: str,
    target: bytes,
    host: bytes,
    caller: CallerHeaders,
    proxy_lines: Iterable[bytes],
    end: bytes = b"\r\n",
) -> bytes:
    """Return the bytes of the outbound request up to its body.

    ``proxy_lines`` are whole header lines with their CRLF; they come last. ``end`` is the empty
    line, after a ``Via`` line if there is one. The framing is the
    caller's, written anew: ``Content-Length``, chunked, or neither.
    """
    name = _METHODS[method] if method in _METHODS else method.encode("ascii")
    parts = [name, b" ", target, b" HTTP/1.1\r\nHost: ", host, b"\r\n"]
    parts += caller.lines
    if caller.chunked:
        parts.append(b"Transfer-Encoding: chunked\r\n")
    elif caller.length is not None:
        parts.append(b"Content-Length: %d\r\n" % caller.length)
    parts += proxy_lines
    parts.append(end)
    return b"".join(parts)


def our_headers(
    token: Token, transaction_id: bytes, customer_id: bytes | None, *, correlation_id: bool
) -> list[bytes]:
    """Return the header lines that the proxy adds, in pieces.

    ``correlation_id``: add one, because the caller has sent none.
    """
    if token.key.kind is TokenKind.V1:
        return [b"Authorization: ", token.authorization, b"\r\ndi_tid: ", transaction_id, b"\r\n"]
    # One list literal, because each later addition costs another allocation.
    lines = [
        b"Authorization: ",
        token.authorization,
        b"\r\ntransactionId: ",
        transaction_id,
        b"\r\ninstitutionId: ",
        token.institution,
        b"\r\n",
    ]
    if correlation_id:
        lines += (b"correlationId: ", transaction_id, b"\r\n")
    if customer_id is not None:
        lines += (b"institutionCustomerId: ", customer_id, b"\r\n")
    return lines


class ResponseHeaders:
    """The headers of a response, parsed: the lines that pass, and the values the proxy needs.

    ``lines`` is the flat list of those sent to the caller unchanged. Framing and ``url_headers``
    (headers with URLs) are not in it, because they are written anew. ``transaction_id`` and
    ``tid`` are the values of ``transactionId`` and ``di_tid``, ``more_ids`` those of repeated ones.
    """

    __slots__ = (
        "is_gzipped",
        "length",
        "lines",
        "more_ids",
        "tid",
        "transaction_id",
        "url_headers",
    )

    def __init__(self, raw: RawHeaders) -> None:
        self.length: bytes | None = None
        self.url_headers: list[tuple[bytes, bytes]] | None = None
        self.is_gzipped = False
        self.transaction_id: bytes | None = None
        self.tid: bytes | None = None
        self.more_ids: list[bytes] | None = None
        lines: list[bytes] = []
        self.lines = lines
        connection_named: set[bytes] | None = None
        for name, value in raw:
            rule = _RESPONSE_RULES[name]
            if rule is _PASS:
                lines += (name, b": ", value, b"\r\n")
            elif rule is _CONNECTION:
                connection_named = connection_named or set()
                connection_named |= CONNECTION_OPTIONS[value]
            elif rule is not _DROP:
                self._note(rule, name, value.rstrip(b" "))
        if connection_named:
            self._remove(frozenset(connection_named))

    def _remove(self, connection_named: frozenset[bytes]) -> None:
        self.lines = without(self.lines, connection_named)
        if b"transactionid" in connection_named:
            self.transaction_id = None
        url_headers = [
            one for one in self.url_headers or () if one[0].lower() not in connection_named
        ]
        self.url_headers = url_headers or None

    def _note(self, rule: HeaderRule, name: bytes, value: bytes) -> None:
        if rule is HeaderRule.CONTENT_LENGTH:
            self.length = value
        elif rule is HeaderRule.LOCATION:
            self.url_headers = self.url_headers or []
            self.url_headers.append((name, value))
        else:
            if rule is HeaderRule.TRANSACTION:
                if self.transaction_id is not None:
                    self.more_ids = self.more_ids or []
                    self.more_ids.append(self.transaction_id)
                self.transaction_id = value
            elif rule is HeaderRule.TID:
                if self.tid is not None:
                    self.more_ids = self.more_ids or []
                    self.more_ids.append(self.tid)
                self.tid = value
            self.is_gzipped |= rule is HeaderRule.ENCODING and value.lower() == b"gzip"
            self.lines += (name, b": ", value, b"\r\n")
