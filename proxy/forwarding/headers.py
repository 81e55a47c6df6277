"""PURE: which headers pass, in both directions.

Outbound headers are built anew: hop-by-hop and ``Connection``-named ones go first, then all of
the caller's that we own (in any case, ``_`` the same as ``-`` and as nothing), then ours come
in last, once. The caller's request is never changed.
"""

import re
from collections.abc import Iterable
from enum import IntEnum
from functools import lru_cache

from proxy.errors import CallerError
from proxy.http1.fields import RawHeaders, connection_options, without
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
_ADDRESSES = frozenset({b"location", b"content-location", b"link", b"refresh"})
_UUID = re.compile(rb"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


class Fate(IntEnum):
    """What is done with a header of a given name."""

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


# What a caller may ask for, in the documented spelling only; any other spelling is dropped.
_ASKED = {
    b"institutionid": Fate.INSTITUTION,
    b"transactionid": Fate.TRANSACTION,
    b"di_tid": Fate.TID,
}
# What passes, and keeps us from adding our own.
_NOTED = {b"correlationid": Fate.CORRELATION, b"institutioncustomerid": Fate.CUSTOMER}
_NAMED = {
    b"connection": Fate.CONNECTION,
    b"transfer-encoding": Fate.TRANSFER_ENCODING,
    b"content-length": Fate.CONTENT_LENGTH,
    b"host": Fate.HOST,
    b"sec-fetch-site": Fate.SITE,
}


@lru_cache(maxsize=2048)
def request_fate(name: bytes) -> Fate:
    """Return what becomes of a caller's header; remembered, because names repeat."""
    low = name.lower()
    if low in _ASKED:
        return _ASKED[low]
    dashed = low.replace(b"_", b"-")
    bare = dashed.replace(b"-", b"")
    if dashed in _HOP_BY_HOP or bare in _OWNED or (dashed != low and dashed in _NAMED):
        return Fate.DROP
    if bare in _NOTED:
        return _NOTED[bare]
    return Fate.EXPECT if low == b"expect" else _NAMED.get(low, Fate.PASS)


@lru_cache(maxsize=2048)
def response_fate(name: bytes) -> Fate:
    """Return what becomes of a header of the bank's answer."""
    low = name.lower()
    if low in _HOP_BY_HOP or low == b"x-proxy-error-source":
        return Fate.DROP
    if low == b"transactionid":
        return Fate.TRANSACTION
    if low in _ADDRESSES:
        return Fate.LOCATION
    if low == b"content-encoding":
        return Fate.ENCODING
    fate = _NAMED.get(low, Fate.PASS)
    return Fate.PASS if fate in (Fate.HOST, Fate.SITE) else fate


# Looked up once: a member of an enumeration costs more to name than a header to copy.
_PASS, _DROP, _HOST_FATE, _CONNECTION = Fate.PASS, Fate.DROP, Fate.HOST, Fate.CONNECTION


class CallerHeaders:
    """A caller's headers, read once: what passes, and what we must know of the rest.

    ``lines`` is the flat list of what goes upstream as it came. ``length`` is the declared body
    length in bytes, ``chunked`` whether it comes in chunks instead; never both. ``origin`` is set
    from without where the target names one. Raises ``CallerError`` for headers that two HTTP
    readers could understand differently.
    """

    length: int | None = None
    chunked = False
    expects_continue = False
    correlated = False
    names_customer = False
    transaction_id: bytes | None = None
    tid: bytes | None = None
    institution: bytes | None = None
    host = b""
    origin = b""

    def __init__(self, raw: RawHeaders) -> None:
        lines: list[bytes] = []
        self.lines = lines
        named: frozenset[bytes] = frozenset()
        hosts = 0
        for name, value in raw:
            if not value.isascii():
                raise bad_header()
            fate = request_fate(name)
            if fate is _PASS:
                lines += (name, b": ", value, b"\r\n")
            elif fate is _HOST_FATE:
                hosts += 1
                _check_host(value)
                self.host = value
            elif fate is _CONNECTION:
                named |= connection_options(value)
            elif fate is not _DROP:
                self._note(fate, name, value)
        if hosts != 1:
            raise CallerError(400, "bad-host", "A request needs exactly one Host header.")
        if named:
            self._remove(named)

    def _remove(self, named: frozenset[bytes]) -> None:
        self.lines = without(self.lines, named)
        left = {request_fate(name) for name in self.lines[::4]}
        self.correlated = Fate.CORRELATION in left
        self.names_customer = Fate.CUSTOMER in left

    def _note(self, fate: Fate, name: bytes, value: bytes) -> None:
        if fate is Fate.CONTENT_LENGTH or fate is Fate.TRANSFER_ENCODING:
            self._note_framing(fate, value)
        elif fate is Fate.EXPECT:
            self.expects_continue = value.lower() == b"100-continue"
        elif fate is Fate.TRANSACTION:
            self.transaction_id = _only(self.transaction_id, value)
        elif fate is Fate.TID:
            self.tid = _only(self.tid, value)
        elif fate is Fate.INSTITUTION:
            if self.institution not in (None, value):
                raise CallerError(400, "institution", "Two institutionId headers disagree.")
            self.institution = value
        else:
            if fate is Fate.SITE and value.lower() == b"cross-site":
                raise CallerError(
                    403, "cross-site", "Web pages of other sites may not call through this proxy."
                )
            self.correlated |= fate is Fate.CORRELATION
            self.names_customer |= fate is Fate.CUSTOMER
            self.lines += (name, b": ", value, b"\r\n")

    def _note_framing(self, fate: Fate, value: bytes) -> None:
        if self.length is not None or self.chunked:
            raise bad_framing()
        if fate is Fate.CONTENT_LENGTH:
            if not value.isdigit() or len(value) > 18:
                raise bad_framing()
            self.length = int(value)
        elif value.lower() == b"chunked":
            self.chunked = True
        else:
            raise CallerError(
                501, "transfer-encoding", "The only transfer coding understood is chunked."
            )


def _only(seen: bytes | None, value: bytes) -> bytes:
    # Two of them name no one transaction, so neither is kept.
    return value if seen is None and _UUID.fullmatch(value) else b""


_HOST = re.compile(rb"(?:[A-Za-z0-9._~!$&'()*+,;=-]+|\[[0-9A-Fa-f:.]+\])(?::(\d{0,5}))?")


@lru_cache(maxsize=256)
def _check_host(value: bytes) -> None:
    match = _HOST.fullmatch(value)
    if match is None or int(match[1] or 0) > 65535:
        raise CallerError(400, "bad-host", "The Host header is not a host with an optional port.")


def request_head(
    method: str, target: bytes, host: bytes, caller: CallerHeaders, ours: Iterable[bytes]
) -> bytes:
    """Return the bytes of the outbound request up to its body.

    ``ours`` are whole header lines with their CRLF; they come last. The framing is the caller's,
    written by us: exactly one of ``Content-Length`` and chunked, or neither.
    """
    parts = [method.encode("ascii"), b" ", target, b" HTTP/1.1\r\nHost: ", host, b"\r\n"]
    parts += caller.lines
    if caller.chunked:
        parts.append(b"Transfer-Encoding: chunked\r\n")
    elif caller.length is not None:
        parts.append(b"Content-Length: %d\r\n" % caller.length)
    parts += ours
    parts.append(b"\r\n")
    return b"".join(parts)


def our_headers(
    token: Token, transaction_id: bytes, customer_id: bytes | None, *, correlation_id: bool
) -> list[bytes]:
    """Return the header lines that are the proxy's own, in pieces.

    ``correlation_id`` asks for one of ours, where the caller has sent none.
    """
    lines = [b"Authorization: ", token.authorization, b"\r\n"]
    if token.key.kind is TokenKind.V1:
        lines += (b"di_tid: ", transaction_id, b"\r\n")
        return lines
    lines += (b"transactionId: ", transaction_id, b"\r\n")
    lines += (b"institutionId: ", token.institution, b"\r\n")
    if correlation_id:
        lines += (b"correlationId: ", transaction_id, b"\r\n")
    if customer_id is not None:
        lines += (b"institutionCustomerId: ", customer_id, b"\r\n")
    return lines


class AnswerHeaders:
    """The headers of the bank's answer, read once: what passes, and what we must know.

    ``lines`` is the flat list of what goes to the caller; framing and ``addresses`` (headers that
    hold URLs) are left out of it, both are written anew. ``identified`` when it carries a
    ``transactionId``. Raises ``ValueError`` for a body whose end could be seen in different places.
    """

    length: bytes | None = None
    addresses: list[tuple[bytes, bytes]] | None = None
    chunked = False
    gzipped = False
    identified = False

    def __init__(self, raw: RawHeaders) -> None:
        lines: list[bytes] = []
        self.lines = lines
        named: frozenset[bytes] = frozenset()
        for name, value in raw:
            fate = response_fate(name)
            if fate is _PASS:
                lines += (name, b": ", value, b"\r\n")
            elif fate is _CONNECTION:
                named |= connection_options(value)
            elif fate is not _DROP:
                self._note(fate, name, value.rstrip(b" "))
        if named:
            self.lines = without(lines, named)
            fates = {response_fate(name) for name in self.lines[::4]}
            self.identified = Fate.TRANSACTION in fates
            kept = [one for one in self.addresses or () if one[0].lower() not in named]
            self.addresses = kept or None

    def _note(self, fate: Fate, name: bytes, value: bytes) -> None:
        if fate is Fate.CONTENT_LENGTH:
            self.length = value
        elif fate is Fate.TRANSFER_ENCODING:
            # The parser refuses two lengths, and a length beside chunks; not two codings, of
            # which it would undo the last only.
            if self.chunked or value.lower() != b"chunked":
                raise ValueError("transfer coding")
            self.chunked = True
        elif fate is Fate.LOCATION:
            self.addresses = [*(self.addresses or ()), (name, value)]
        else:
            self.identified |= fate is Fate.TRANSACTION
            self.gzipped |= fate is Fate.ENCODING and value.lower() == b"gzip"
            self.lines += (name, b": ", value, b"\r\n")


def bad_header() -> CallerError:
    """Return the refusal of a header that holds bytes no header may hold."""
    return CallerError(
        400, "bad-header", "A header holds a byte that is not allowed there; send ASCII only."
    )


def bad_framing() -> CallerError:
    """Return the refusal of a body whose end two readers could see in different places."""
    return CallerError(
        400, "bad-framing", "The length of the body is given twice, or not as a plain number."
    )
