"""A strict parser of complete HTTP/1.1 messages after RFC 9112.

It accepts what the proxy accepts: one framing, ``chunked`` as the only transfer coding, no line
folding, no bare line feed.
"""

import re
from dataclasses import dataclass, field

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_STATUS_LINE = re.compile(rb"HTTP/(1\.[01]) ([0-9]{3})(?: ([\t\x20-\x7e\x80-\xff]*))?")
# Several spaces are accepted (RFC 9112 section 3), because the proxy writes the line anew.
_REQUEST_LINE = re.compile(rb"(%b) +([\x21-\x7e\x80-\xff]+) +HTTP/(1\.[01])" % _TOKEN)
_HEADER = re.compile(rb"(%b):[\t ]*((?:[\x21-\x7e\x80-\xff][\t\x20-\x7e\x80-\xff]*)?)" % _TOKEN)
_CHUNK = re.compile(
    rb'([0-9A-Fa-f]{1,16})(?:;%b(?:=(?:%b|"[^"\\\0-\x08\x0a-\x1f\x7f]*"))?)*' % (_TOKEN, _TOKEN)
)

Headers = list[tuple[bytes, bytes]]


class NoMessageError(Exception):
    """The bytes are not a message."""


class CutError(Exception):
    """The bytes are the beginning of a message."""


@dataclass
class Message:
    """A message; ``start`` are the parts of its first line, ``rest`` the bytes after it."""

    start: tuple[bytes, ...]
    headers: Headers
    body: bytes = b""
    rest: bytes = b""
    interim: list[bytes] = field(default_factory=list)


def response(data: bytes, *, bodiless: bool, ended: bool) -> Message:
    """Parse the response to one request, after any interim responses.

    ``ended``: the connection is closed. Raises ``NoMessageError`` or ``CutError``.
    """
    while True:
        # Empty lines before a message are skipped (RFC 9112 section 2.2).
        start, headers, rest = _head(data.lstrip(b"\r\n"), _STATUS_LINE)
        status, coding = int(start[1]), _framing(headers)
        if not 100 <= status <= 199 or status == 101:
            break
        if rest and _closes(start[0], headers):
            raise NoMessageError
        data = rest
    if not 200 <= status <= 599:
        raise NoMessageError
    if bodiless or status in (204, 304):
        return Message(start, headers, b"", rest)
    if coding is None:
        if not ended:
            raise CutError
        return Message(start, headers, rest)
    body, rest = _body(rest, coding)
    return Message(start, headers, body, rest)


def request(data: bytes) -> Message:
    """Parse one request. Raises ``NoMessageError`` or ``CutError``."""
    data = data.lstrip(b"\r\n")
    start, headers, rest = _head(data, _REQUEST_LINE)
    coding = _framing(headers)
    body, rest = _body(rest, 0 if coding is None else coding)
    return Message(start, headers, body, rest)


def _head(data: bytes, first: re.Pattern[bytes]) -> tuple[tuple[bytes, ...], Headers, bytes]:
    head, end, rest = data.partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    match = first.fullmatch(lines[0])
    found = [_HEADER.fullmatch(line) for line in lines[1:]]
    if not end:
        raise CutError
    if match is None or None in found:
        raise NoMessageError
    headers = [(one[1], one[2].rstrip(b"\t ")) for one in found if one is not None]
    return tuple(part or b"" for part in match.groups()), headers, rest


def _closes(version: bytes, headers: Headers) -> bool:
    """Whether the connection closes after the message; llhttp applies it to interim ones too."""
    said = b",".join(value.lower() for name, value in headers if name.lower() == b"connection")
    options = {option.strip() for option in said.split(b",")}
    return b"close" in options or (version == b"1.0" and b"keep-alive" not in options)


def _framing(headers: Headers) -> int | str | None:
    codings = [value for name, value in headers if name.lower() == b"transfer-encoding"]
    lengths = [value for name, value in headers if name.lower() == b"content-length"]
    if len(codings) + len(lengths) > 1:
        raise NoMessageError
    if codings:
        if codings[0].lower() != b"chunked":
            raise NoMessageError
        return "chunked"
    if lengths:
        if not re.fullmatch(rb"[0-9]{1,18}", lengths[0]):
            raise NoMessageError
        return int(lengths[0])
    return None


def _body(data: bytes, coding: int | str) -> tuple[bytes, bytes]:
    if isinstance(coding, int):
        if len(data) < coding:
            raise CutError
        return data[:coding], data[coding:]
    body = b""
    while True:
        line, end, rest = data.partition(b"\r\n")
        if not end:
            raise CutError
        match = _CHUNK.fullmatch(line)
        if match is None:
            raise NoMessageError
        size = int(match[1], 16)
        if not size:
            return body, _trailers(rest)
        if len(rest) < size + 2:
            raise CutError
        if rest[size : size + 2] != b"\r\n":
            raise NoMessageError
        body, data = body + rest[:size], rest[size + 2 :]


def _trailers(data: bytes) -> bytes:
    while True:
        line, end, data = data.partition(b"\r\n")
        if not end:
            raise CutError
        if not line:
            return data
        if not _HEADER.fullmatch(line):
            raise NoMessageError
