"""PURE: which headers pass, in both directions.

Outbound headers are built anew: hop-by-hop and ``Connection``-named ones go first, then all of
the caller's that we own (in any case, ``_`` the same as ``-`` and as nothing), then ours come
in last, once. The caller's request is never changed.
"""

import re
from collections.abc import Iterable, Sequence
from enum import IntEnum
from functools import lru_cache
from typing import NamedTuple

from proxy.errors import CallerError

RawHeaders = Sequence[tuple[bytes, bytes]]

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


# What a caller may ask for, in the documented spelling only; any other spelling is dropped.
_ASKED = {
    b"institutionid": Fate.INSTITUTION,
    b"transactionid": Fate.TRANSACTION,
    b"di_tid": Fate.TID,
}
_NAMED = {
    b"connection": Fate.CONNECTION,
    b"transfer-encoding": Fate.TRANSFER_ENCODING,
    b"content-length": Fate.CONTENT_LENGTH,
    b"host": Fate.HOST,
}


@lru_cache(maxsize=2048)
def request_fate(name: bytes) -> Fate:
    """Return what becomes of a caller's header; remembered, because names repeat."""
    low = name.lower()
    if low in _ASKED:
        return _ASKED[low]
    bare = low.replace(b"_", b"").replace(b"-", b"")
    if low in _HOP_BY_HOP or bare in _OWNED:
        return Fate.DROP
    if bare == b"correlationid":
        return Fate.CORRELATION
    return Fate.EXPECT if low == b"expect" else _NAMED.get(low, Fate.PASS)


@lru_cache(maxsize=2048)
def response_fate(name: bytes) -> Fate:
    """Return what becomes of a header of the bank's answer."""
    low = name.lower()
    if low in _HOP_BY_HOP or low == b"x-proxy-error-source":
        return Fate.DROP
    if low == b"transactionid":
        return Fate.TRANSACTION
    if low == b"location":
        return Fate.LOCATION
    fate = _NAMED.get(low, Fate.PASS)
    return Fate.PASS if fate is Fate.HOST else fate


class CallerHeaders:
    """A caller's headers, read once: what passes, and what we must know of the rest.

    ``lines`` is the flat list of what goes upstream as it came. ``length`` is the declared body
    length in bytes, ``chunked`` whether it comes in chunks instead; never both. Raises
    ``CallerError`` for headers that two HTTP readers could understand differently.
    """

    __slots__ = (
        "chunked",
        "correlated",
        "expects_continue",
        "host",
        "institution",
        "length",
        "lines",
        "tid",
        "transaction_id",
    )

    def __init__(self, raw: RawHeaders) -> None:
        self.lines: list[bytes] = []
        self.length: int | None = None
        self.chunked = False
        self.expects_continue = False
        self.correlated = False
        self.transaction_id: bytes | None = None
        self.tid: bytes | None = None
        self.institution: bytes | None = None
        self.host = b""
        named: set[bytes] = set()
        hosts = 0
        for name, value in raw:
            if not value.isascii():
                raise bad_header()
            fate = request_fate(name)
            if fate is Fate.PASS:
                self.lines += (name, b": ", value, b"\r\n")
            elif fate is Fate.HOST:
                hosts += 1
                _check_host(value)
                self.host = value
            elif fate is Fate.CONNECTION:
                named |= connection_options(value)
            elif fate is not Fate.DROP:
                self._note(fate, name, value)
        if hosts != 1:
            raise CallerError(400, "bad-host", "A request needs exactly one Host header.")
        if named:
            self.lines = without(self.lines, named)

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
            self.correlated = True
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


def connection_options(value: bytes) -> set[bytes]:
    """Return the header names that a ``Connection`` header removes, in lower case."""
    options = {option.strip().lower() for option in value.split(b",")}
    return options - {b"", b"close", b"keep-alive"}


def without(lines: list[bytes], names: set[bytes]) -> list[bytes]:
    """Return the flat header list without the headers of these names."""
    kept: list[bytes] = []
    for at in range(0, len(lines), 4):
        if lines[at].lower() not in names:
            kept += lines[at : at + 4]
    return kept


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


def passing(raw: RawHeaders) -> tuple[list[bytes], bytes | None, bool]:
    """Return an answer's passing header lines, its ``Location``, and whether it is identified.

    Identified means that it carries a ``transactionId``. Framing and ``Location`` are left out
    of the lines: both are written anew.
    """
    lines: list[bytes] = []
    location: bytes | None = None
    identified = False
    named: set[bytes] = set()
    for name, value in raw:
        fate = response_fate(name)
        if fate is Fate.PASS:
            lines += (name, b": ", value, b"\r\n")
        elif fate is Fate.TRANSACTION:
            identified = True
            lines += (name, b": ", value, b"\r\n")
        elif fate is Fate.LOCATION:
            location = value
        elif fate is Fate.CONNECTION:
            named |= connection_options(value)
    return (without(lines, named) if named else lines), location, identified


def is_gzipped(raw: RawHeaders) -> bool:
    """Whether an answer's body is gzip-encoded."""
    return any(
        name.lower() == b"content-encoding" and value.lower() == b"gzip" for name, value in raw
    )


def response_head(status: int, reason: bytes, lines: Iterable[bytes]) -> bytes:
    """Return the bytes of the answer up to its body."""
    return b"".join((b"HTTP/1.1 %d " % status, reason, b"\r\n", *lines, b"\r\n"))


class Framing(NamedTuple):
    """How a body's end is told: the header line for it, and what that means for the writer.

    ``chunked``: blocks go out as chunks. ``ends``: the body ends by itself, so that the
    connection may be kept.
    """

    line: bytes
    chunked: bool
    ends: bool


def answer_framing(
    status: int, length: bytes | None, *, bodiless: bool, whole: int | None, chunks: bool
) -> Framing:
    """Return the framing of an answer.

    ``length`` is the upstream's own ``Content-Length``, ``whole`` the size of a body that is all
    here already, ``chunks`` whether this caller understands chunks (HTTP/1.1).
    """
    if status == 204:
        return Framing(b"", chunked=False, ends=True)
    if length is not None:
        return Framing(b"Content-Length: %b\r\n" % length, chunked=False, ends=True)
    if bodiless:
        return Framing(b"", chunked=False, ends=True)
    if whole is not None:
        return Framing(b"Content-Length: %d\r\n" % whole, chunked=False, ends=True)
    if chunks:
        return Framing(b"Transfer-Encoding: chunked\r\n", chunked=True, ends=True)
    return Framing(b"", chunked=False, ends=False)


def persistence_line(*, keep_alive: bool, http_1_0: bool) -> bytes:
    """Return the ``Connection`` header that says what happens next, where one must be said."""
    if not keep_alive:
        return b"Connection: close\r\n"
    return b"Connection: keep-alive\r\n" if http_1_0 else b""


def rewrite_location(location: bytes, origin: bytes, base: bytes, proxy: bytes) -> bytes:
    """Return ``Location`` as the caller may follow it.

    One that points at the upstream's origin is turned to ``proxy`` (scheme and host as the
    caller knows them), without ``base`` where the caller does not use the base path. Any other
    is left alone: it is not ours to follow, nor to hide.
    """
    head = location[: len(origin)]
    path = location[len(origin) :]
    if head.lower() != origin.lower() or path[:1] not in (b"", b"/", b"?"):
        return location
    if base and path.startswith(base) and path[len(base) : len(base) + 1] in (b"", b"/", b"?"):
        path = path[len(base) :]
    return proxy + path


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
