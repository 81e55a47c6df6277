"""Sample data, made up and the same on every run."""

from __future__ import annotations

import struct
import zlib
from functools import cache
from typing import Any

from proxy.sandbox.bank_settings import Business, User

SampleRecord = dict[str, Any]

_SHOPS = (
    ("Paper Lantern Books", -1840),
    ("Quiet Corner Café", -465),
    ("Moss & Fern Garden Supply", -3275),
    ("Salary, Northwind Pottery", 214000),
    ("Tin Whistle Repairs", -5900),
    ("Harbour Street Market", -2310),
    ("Ferry ticket", -780),
    ("Transfer from Rainy Day", 12500),
    ("Lamplight Cinema", -1350),
    ("Bramble & Bread Bakery", -640),
)


def accounts(user: User, business: Business | None) -> list[SampleRecord]:
    """Return the accounts of a user, or of a business. Amounts are strings in USD."""
    if business is not None:
        return [
            _account(f"{business.institution_customer_id}-1", f"{business.name} Till", "6204.15"),
            _account(f"{business.institution_customer_id}-2", "Flour and Tax", "1899.00"),
        ]
    return [
        _account(f"{user.host_user_id}-1", "Everyday Checking", "1432.07"),
        _account(f"{user.host_user_id}-2", "Rainy Day Savings", "8650.40"),
        _account(f"{user.host_user_id}-3", "Sailing Boat Fund", "212.99"),
    ]


def _account(number: str, name: str, balance: str) -> SampleRecord:
    kind = "CHECKING" if number.endswith("-1") else "SAVINGS"
    return {
        "accountId": number,
        "name": name,
        "accountType": kind,
        "maskedNumber": f"****{zlib.crc32(number.encode()) % 10000:04d}",
        "currency": "USD",
        "availableBalance": balance,
        "status": "OPEN",
    }


def transactions(account_id: str, count: int = 37) -> list[SampleRecord]:
    """Return the transactions of an account, newest first."""
    return [_transaction(account_id, index) for index in range(count)]


def _transaction(account_id: str, index: int) -> SampleRecord:
    shop, cents = _SHOPS[index % len(_SHOPS)]
    return {
        "transactionId": f"{account_id}-t{index:04d}",
        "accountId": account_id,
        "postedDate": f"2025-{6 - index // 28:02d}-{28 - index % 28:02d}",
        "description": shop,
        "amount": f"{cents / 100:.2f}",
        "currency": "USD",
    }


def activities(count: int = 200) -> SampleRecord:
    """Return a long list of banking activities."""
    verbs = ("signed in", "looked at the Sailing Boat Fund", "moved $5 to Rainy Day")
    return {
        "activities": [
            {"activityId": f"a{index:05d}", "who": "juniper.quill", "what": verbs[index % 3]}
            for index in range(count)
        ]
    }


@cache
def cheque(number: str) -> bytes:
    """Return an image of a cheque: a grey PNG of 240 by 100 pixels that depends on the number."""
    width, height, seed = 240, 100, zlib.crc32(number.encode())
    rows = b"".join(b"\0" + _row(y, width, height, seed) for y in range(height))
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + _png_chunk(b"IHDR", header)
        + _png_chunk(b"IDAT", zlib.compress(rows, 9))
        + _png_chunk(b"IEND", b"")
    )


def _row(y: int, width: int, height: int, seed: int) -> bytes:
    """Return one row of pixels: frame, three ruled lines, and code bars at the foot."""
    if y in (0, height - 1):
        return bytes(width)
    line = bytearray(b"\xf4" * width)
    if y in (30, 50, 70):
        line[16:200] = b"\x60" * 184
    if 84 <= y <= 92:
        for bar in range(32):
            if seed >> bar & 1:
                line[16 + bar * 5 : 19 + bar * 5] = b"\x20" * 3
    line[0] = line[-1] = 0
    return bytes(line)


def _png_chunk(kind: bytes, data: bytes) -> bytes:
    checksum = zlib.crc32(kind + data)
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)
