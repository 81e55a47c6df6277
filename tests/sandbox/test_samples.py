"""The sample data."""

import base64
import re
import zlib
from decimal import Decimal

from proxy.sandbox import samples
from proxy.sandbox.bank_settings import USERS


def test_same_on_every_run() -> None:
    """Sample data does not change from one call to the next."""
    assert samples.accounts(USERS[0], None) == samples.accounts(USERS[0], None)
    assert samples.transactions("1") == samples.transactions("1")


def test_business_has_accounts_of_its_own() -> None:
    """Whoever acts for a business sees the business's accounts."""
    owner = USERS[2]
    seen = {
        account["accountId"]
        for business in (None, *owner.businesses)
        for account in samples.accounts(owner, business)
    }
    assert len(seen) == 3 + 2 + 2


def test_transactions_read_well() -> None:
    """Dates are dates, amounts are amounts, numbers are unique."""
    every = samples.transactions("7", 37)
    assert len({entry["transactionId"] for entry in every}) == 37
    for entry in every:
        assert re.fullmatch(r"2025-0[56]-(0[1-9]|1\d|2[0-8])", entry["postedDate"])
        assert Decimal(entry["amount"]).as_tuple().exponent == -2


def test_cheque_is_a_picture() -> None:
    """The cheque is a PNG that unpacks to 100 rows of 240 pixels."""
    picture = samples.cheque("42")
    assert picture.startswith(b"\x89PNG\r\n\x1a\n")
    length = int.from_bytes(picture[33:37], "big")
    assert len(zlib.decompress(picture[41 : 41 + length])) == 100 * 241
    assert samples.cheque("43") != picture
    assert base64.b64encode(picture)


def test_activities_are_worth_compressing() -> None:
    """There are as many activities as asked for."""
    assert len(samples.activities(5)["activities"]) == 5
