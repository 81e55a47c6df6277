"""Calls of docs/candescent.md."""

import re
from pathlib import Path
from typing import Any

import pytest

from tests.candescent.setup import bank_fixture

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/candescent.md").read_text(encoding="utf-8")
FAMILIES = re.findall(r"^\| ([^|]+) \| (`[A-Z]+ /[^|]+) \| (V\d) \| (\w+) \|$", PAGE, re.MULTILINE)
USER: dict[str, Any] = {"login_id": "acorn.owner", "institution_customer_id": "770001"}
IN_QUERY = "loginId=acorn.owner"


@pytest.mark.parametrize(
    ("calls", "token", "user"), [row[1:] for row in FAMILIES], ids=[row[0] for row in FAMILIES]
)
async def test_family(calls: str, token: str, user: str) -> None:
    """Each call gets token, headers and user as documented."""
    async with bank_fixture(**USER) as there:
        for method, path in re.findall(r"`([A-Z]+) ([^`]+)`", calls):
            sent = path.replace("{fi}", "00016").replace("{id}", "7")
            await there.call(sent, method)
            arrival = there.bank.arrivals[-1]
            bearer = str(arrival.header("Authorization")).removeprefix("Bearer ")
            assert (arrival.method, there.bank.tokens[bearer].generation) == (method, token)
            v2 = token == "V2"
            for name in ("transactionId", "institutionId", "correlationId"):
                assert (arrival.header(name) is not None) is v2
            assert (arrival.header("di_tid") is not None) is not v2
            query = {
                "path": "",
                "header": f"?{IN_QUERY}",
                "query": f"?{IN_QUERY}&institutionCustomerId=770001",
            }
            assert arrival.target == sent + query[user]
            assert (arrival.header("institutionCustomerId") is not None) is (user == "header")


def test_families_are_the_public_ones() -> None:
    """Of both generations."""
    assert len(FAMILIES) == PAGE.count(" | V2 | ") + PAGE.count(" | V1 | ") >= 20
    assert {row[2] for row in FAMILIES} == {"V1", "V2"}
    assert {row[3] for row in FAMILIES} == {"query", "header", "path"}
