"""docs/candescent.md: each family's calls are made, and each error is one that the program has."""

import re
from pathlib import Path
from typing import Any

import pytest

from proxy.errors import TokenFailure, UpstreamError, UpstreamFailure
from tests.candescent.setup import bank_fixture

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/candescent.md").read_text(encoding="utf-8")
FAMILIES = re.findall(r"^\| ([^|]+) \| (`[A-Z]+ /[^|]+) \| (V\d) \| (\w+) \|$", PAGE, re.MULTILINE)
ERRORS = re.findall(
    r"^\| (`[^|]+`) \| ([\d, ]+) \| ((?:caller|token|upstream|proxy)[^|]*) \|", PAGE, re.MULTILINE
)
USER: dict[str, Any] = {"login_id": "acorn.owner", "institution_customer_id": "770001"}
IN_QUERY = "loginId=acorn.owner"


@pytest.mark.parametrize(
    ("calls", "token", "user"), [row[1:] for row in FAMILIES], ids=[row[0] for row in FAMILIES]
)
async def test_family(calls: str, token: str, user: str) -> None:
    """Each call of the family takes the token, the headers and the user that the page says."""
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
    """The table was read whole, and has both generations."""
    assert len(FAMILIES) == PAGE.count(" | V2 | ") + PAGE.count(" | V1 | ") >= 20
    assert {row[2] for row in FAMILIES} == {"V1", "V2"}
    assert {row[3] for row in FAMILIES} == {"query", "header", "path"}


def named_in_source() -> set[str]:
    """The name of every error that the program can answer with."""
    names = {f"token-{reason.replace('_', '-')}" for reason in TokenFailure}
    names |= {f"upstream-{reason.replace('_', '-')}" for reason in UpstreamFailure}
    for file in (ROOT / "proxy").rglob("*.py"):
        if "sandbox" not in file.parts:
            text = file.read_text(encoding="utf-8")
            names |= set(re.findall(r'CallerError\(\s*\d{3},\s*"([a-z-]+)"', text))
            names |= set(re.findall(r'ProxyError\(\s*"([a-z-]+)"', text))
    return names


def test_every_error_is_explained() -> None:
    """The table has every error of the program, and no other."""
    explained = [name for row in ERRORS for name in re.findall(r"`([^`]+)`", row[0])]
    assert len(explained) == len(set(explained))
    assert set(explained) == named_in_source()


@pytest.mark.parametrize("reason", UpstreamFailure)
def test_upstream_errors_have_the_status_of_the_table(reason: UpstreamFailure) -> None:
    """A failure of the bank's side is explained with the status that it has."""
    error = UpstreamError(reason, "")
    (status,) = [row[1] for row in ERRORS if f"`{error.name}`" in row[0]]
    assert status == str(error.status)
