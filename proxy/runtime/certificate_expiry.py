"""Reads when certificates expire, without a library.

``cryptography`` would cost eight megabytes of memory, and ``ssl`` shows only authorities' dates.
"""

import re
from base64 import b64decode
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

_PEM = re.compile(
    rb"-----BEGIN ((?:X509 |TRUSTED )?CERTIFICATE)-----(?P<text>.+?)-----END \1-----",
    re.DOTALL,
)
_UTC_TIME, _GENERALIZED_TIME, _VERSION = 0x17, 0x18, 0xA0


def expiries(files: Iterable[tuple[str, Path]]) -> Mapping[str, float]:
    """Return when the first certificate in each file expires, in Unix time, by its setting.

    A missing file, or one without a readable certificate, is left out; loading the configuration
    reports it.
    """
    expiry_times = {}
    for setting, file in files:
        try:
            expiry_times[setting] = min(map(expiry, _certificates(file.read_bytes())))
        except (OSError, ValueError):
            continue
    return expiry_times


def expiry(der: bytes) -> float:
    """Return when a certificate (RFC 5280, DER) expires, in Unix time. Raises ``ValueError``."""
    try:
        (_, certificate), *_ = _elements(der)
        (_, to_be_signed), *_ = _elements(certificate)
        fields = [content for tag, content in _elements(to_be_signed) if tag != _VERSION]
        _serial, _algorithm, _issuer, validity, *_ = fields
        _, (tag, text) = _elements(validity)
    except (IndexError, ValueError) as error:
        raise ValueError("not a certificate") from error
    return _time(tag, text.decode("ascii"))


def _certificates(pem: bytes) -> Iterator[bytes]:
    for match in _PEM.finditer(pem):
        yield b64decode(match["text"])


def _elements(der: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield tag and content of consecutive DER elements."""
    at = 0
    while at < len(der):
        tag, length = der[at], der[at + 1]
        at += 2
        if length & 0x80:
            size = length & 0x7F
            length = int.from_bytes(der[at : at + size], "big")
            at += size
        if at + length > len(der):
            raise ValueError("truncated")
        yield tag, der[at : at + length]
        at += length


def _time(tag: int, text: str) -> float:
    if tag == _UTC_TIME:
        # Two digits of a year; RFC 5280 section 4.1.2.5.1 defines the century.
        text = ("19" if int(text[:2]) >= 50 else "20") + text
    elif tag != _GENERALIZED_TIME:
        raise ValueError("not a certificate's date")
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC).timestamp()
