"""The sample data."""

import base64
import re
import zlib
from decimal import Decimal

from proxy.sandbox import samples
from proxy.sandbox.bank_settings import USERS


def test_samples_are_constant() -> None:
    """Between calls."""
    assert samples.accounts(USERS[0], None) == samples.accounts(USERS[0], None)
    assert samples.transactions("1") == samples.transactions("1")


def test_business_has_its_own_accounts() -> None:
    """Its users see them."""
    owner = USERS[2]
    seen = {
        account["accountId"]
        for business in (None, *owner.businesses)
        for account in samples.accounts(owner, business)
    }
    assert len(seen) == 3 + 2 + 2


def test_transactions_are_valid() -> None:
    """Dates, amounts and unique numbers."""
    every = samples.transactions("7", 37)
    assert len({entry["transactionId"] for entry in every}) == 37
    for entry in every:
        assert re.fullmatch(r"2025-0[56]-(0[1-9]|1\d|2[0-8])", entry["postedDate"])
        assert Decimal(entry["amount"]).as_tuple().exponent == -2


def test_cheque_is_a_png() -> None:
    """Of 100 rows of 240 pixels."""
    picture = samples.cheque("42")
    assert picture.startswith(b"\x89PNG\r\n\x1a\n")
    length = int.from_bytes(picture[33:37], "big")
    assert len(zlib.decompress(picture[41 : 41 + length])) == 100 * 241
    assert samples.cheque("43") != picture
    assert base64.b64encode(picture)


def test_number_of_activities() -> None:
    """As requested."""
    assert len(samples.activities(5)["activities"]) == 5
