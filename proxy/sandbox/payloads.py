"""Large bodies generated in constant memory, and malformed ones.

The byte at offset ``i`` of a download is ``i % 251``, so that lost and repeated bytes are found;
``pattern_sha256`` is its digest.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator

_PERIOD = bytes(range(251))
#: The repeated block: a multiple of the period and of 3, so its base64 text repeats too.
BLOCK = _PERIOD * 261
_BLOCK_BASE64 = base64.b64encode(BLOCK)

#: A gateway's web page in place of JSON.
PAGE = (
    b"<!DOCTYPE html><html><head><title>Sandbox bank</title></head>"
    b"<body><h1>We will be back soon</h1><p>The vault is being swept.</p></body></html>"
)

#: An XML bomb: ten levels of ten entities ("billion laughs").
BOMB = (
    '<?xml version="1.0"?><!DOCTYPE token [<!ENTITY e0 "ha">'
    + "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 11))
    + "]><token><access_token>&e10;</access_token><expires_in>1799</expires_in></token>"
).encode()


def pattern(size: int) -> Iterator[bytes]:
    """Yield ``size`` bytes, the one at offset ``i`` being ``i % 251``, in blocks of 64 KiB."""
    for _ in range(size // len(BLOCK)):
        yield BLOCK
    if rest := size % len(BLOCK):
        yield BLOCK[:rest]


def pattern_sha256(size: int) -> str:
    """Return the SHA-256 of ``pattern(size)`` in hexadecimal."""
    digest = hashlib.sha256()
    for chunk in pattern(size):
        digest.update(chunk)
    return digest.hexdigest()


def base64_pattern(size: int) -> Iterator[bytes]:
    """Yield the base64 text of ``pattern(size)``."""
    for chunk in pattern(size):
        yield _BLOCK_BASE64 if chunk is BLOCK else base64.b64encode(chunk)


def base64_length(size: int) -> int:
    """Return the length of the base64 text of ``size`` bytes."""
    return (size + 2) // 3 * 4


def padding(size: int) -> Iterator[bytes]:
    """Yield ``size`` bytes (at least 30) of JSON without a token."""
    yield b'{"padding":"'
    left = size - 14
    block = b"x" * 65536
    while left > 0:
        yield block[:left]
        left -= len(block)
    yield b'"}'
