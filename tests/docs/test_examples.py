"""The programs of docs/examples, with a real proxy and the sandbox."""

import asyncio
import json
import sys
from pathlib import Path

import pytest
from defusedxml import ElementTree

from proxy.sandbox import Sandbox, Settings
from tests.support import needs
from tests.support.program import environment
from tests.support.running import DEADLINE, running, url

EXAMPLES = Path(__file__).parents[2] / "docs/examples"
LISTED = """\
880017-1 Everyday Checking 1432.07
880017-2 Rainy Day Savings 8650.40
880017-3 Sailing Boat Fund 212.99
"""
PROGRAMS = {".sh": "sh", ".py": sys.executable, ".java": "java", ".php": "php", ".pl": "perl"}
BASE = "/digitalbanking/stage"


def listed(out: str) -> str:
    """Return the accounts that an example has printed."""
    if not out.startswith("{"):
        return out
    accounts = json.loads(out)["accounts"]
    fields = ("accountId", "name", "availableBalance")
    return "".join(" ".join(each[field] for field in fields) + "\n" for each in accounts)


async def run(example: str, **variables: str) -> tuple[int, str, str]:
    """Run an example; return exit code, output and errors."""
    program = PROGRAMS[Path(example).suffix]
    needs.program("curl" if program == "sh" else program)
    process = await asyncio.create_subprocess_exec(
        program,
        EXAMPLES / example,
        env=environment(**variables),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await asyncio.wait_for(process.communicate(), DEADLINE)
    return process.returncode or 0, out.decode(), err.decode()


ACCOUNTS = sorted(path.name for path in EXAMPLES.glob("[aA]ccounts.*"))
HTTP_PROXY = sorted(path.name for path in EXAMPLES.glob("only_http_proxy.*"))


@pytest.mark.parametrize("example", ACCOUNTS)
async def test_accounts(example: str) -> None:
    """Every language gets the same accounts without a token."""
    async with Sandbox() as bank, running(bank) as app:
        code, out, err = await run(example, PROXY=url(app))
        assert (code, err) == (0, "")
        assert listed(out) == LISTED
        (arrival,) = bank.bank.arrivals
        assert arrival.target == "/v1/accounts?hostUserId=880017"


@pytest.mark.parametrize("example", ACCOUNTS)
async def test_failure_is_reported(example: str) -> None:
    """With the proxy's message."""
    async with Sandbox() as bank, running(bank, ready=False, client_secret="another") as app:
        code, out, err = await run(example, PROXY=url(app))
        assert code != 0
        assert "urn:candescent-proxy:error:token-bad-client" in out + err


async def test_event() -> None:
    """The XML reaches the bank byte for byte."""
    async with Sandbox() as bank, running(bank) as app:
        assert await run("send_event.sh", PROXY=url(app)) == (0, "204\n", "")
        (arrival,) = bank.bank.arrivals
        sent = (EXAMPLES / "event.xml").read_bytes()
        assert arrival.body == sent
        assert bank.bank.tokens[str(arrival.header("Authorization"))[7:]].generation == "V1"
        assert ElementTree.fromstring(sent).tag.endswith("Event")


@pytest.mark.parametrize("example", HTTP_PROXY)
async def test_http_proxy(example: str) -> None:
    """A request for the bank's URL gets a token."""
    async with Sandbox(Settings(base_path=BASE)) as bank, running(bank) as app:
        code, out, err = await run(example, PROXY=url(app), BANK=bank.url)
        assert (code, err, listed(out)) == (0, "", LISTED)
        (arrival,) = bank.bank.arrivals
        assert arrival.header("Authorization")


@pytest.mark.parametrize("example", HTTP_PROXY)
async def test_other_hosts_are_refused(example: str) -> None:
    """The proxy forwards to its bank only."""
    async with Sandbox() as bank, Sandbox() as other, running(bank) as app:
        code, _, _ = await run(example, PROXY=url(app), BANK=other.url)
        assert code != 0
        assert not other.bank.arrivals


def test_every_example_is_listed_and_run() -> None:
    """In the page and in these tests."""
    page = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    files = {path.name for path in EXAMPLES.iterdir()} - {"README.md"}
    assert {name for name in files if f"({name})" in page} == files
    assert {*ACCOUNTS, *HTTP_PROXY, "event.xml", "send_event.sh"} == files
