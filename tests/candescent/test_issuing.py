"""Token endpoints that repeat, revoke or delay tokens, behind a running proxy."""

import asyncio
from typing import Any

from proxy.sandbox import Fault, Sandbox, Settings, changed
from proxy.tokens.cache import Entry
from tests.candescent.setup import BankFixture, bank_fixture
from tests.support.running import until

PACE = 0.05
"""Seconds between the requests of a caller."""

UNHURRIED: dict[str, Any] = {"token": {}}
"""The defaults, instead of the short times of the fixture."""


def entry(there: BankFixture) -> Entry:
    """Return the only key's entry in the token cache."""
    (only,) = there.app.tokens.entries()
    return only


def issued(there: BankFixture) -> int:
    """Return the number of tokens that the bank has issued."""
    return there.bank.counts["issued"]


async def renew(there: BankFixture) -> None:
    """Fetch another token."""
    old = entry(there).token
    there.app.tokens.start_refresh(entry(there))
    await until(lambda: entry(there).token is not old)


async def test_repeated_token_costs_no_request() -> None:
    """Of an endpoint that hands out one token until it has expired: one or two calls for each."""
    rules = Settings(issuing="same", lifetime=3)
    async with bank_fixture(rules, **UNHURRIED) as there:
        statuses = set()
        while issued(there) < 4:
            statuses.add((await there.call("/echo")).status)
            await asyncio.sleep(PACE)
        assert statuses == {200}
        assert issued(there) <= len(there.bank.token_requests) <= 2 * issued(there)
        assert there.count("token_unchanged") >= 1
        assert there.count("token_refresh_failures") == 0


async def test_token_with_nothing_left_is_waited_for() -> None:
    """At a start, in the last second of a token that another program has got before."""
    async with Sandbox(Settings(issuing="same", lifetime=0.5)) as sandbox:
        async with bank_fixture(sandbox) as there:
            assert issued(there) == 1
            sandbox.bank.settings = changed(sandbox.bank.settings, {"lifetime": 30})
        async with bank_fixture(sandbox, **UNHURRIED) as there:
            assert (await there.call("/echo")).status == 200
            assert there.count("token_refresh_failures") == 0
            assert entry(there).lifetime == 30


async def test_tokens_that_revoke_each_other_are_reported() -> None:
    """Two proxies without a store at a bank where only the newest token is valid."""
    async with (
        Sandbox(Settings(issuing="only")) as sandbox,
        bank_fixture(sandbox) as first,
        bank_fixture(sandbox) as second,
    ):
        for _ in range(6):
            for there in (first, second):
                assert (await there.call("/echo")).status == 200
        for there in (first, second):
            assert entry(there).held.is_in_conflict
            (warning,) = there.app.conditions()
            assert (warning.state, warning.reason) == ("warning", "token-conflict")
        async with bank_fixture(sandbox) as alone:
            assert (await alone.call("/echo")).status == 200
            assert alone.app.conditions()[0].state == "ok"


async def test_former_token_bridges_a_late_replica() -> None:
    """No request fails while the bank does not know the new token yet; then that one is used."""
    async with bank_fixture(**UNHURRIED) as there:
        there.sandbox.bank.settings = changed(there.bank.settings, {"activation": 1})
        await renew(there)
        new = entry(there).token
        assert (await there.call("/echo")).status == 200
        assert entry(there).token is not new
        while entry(there).token is not new:
            assert (await there.call("/echo")).status == 200
            await asyncio.sleep(PACE)
        assert (await there.call("/echo")).status == 200
        assert len(there.bank.token_requests) == 2


async def test_token_refused_moments_after_its_issue_is_replaced() -> None:
    """The first one of a start too."""
    async with bank_fixture(**UNHURRIED) as there:
        there.bank.expire_all()
        assert (await there.call("/echo")).status == 200
        assert len(there.bank.token_requests) == 2


async def test_resource_that_always_refuses_costs_few_tokens() -> None:
    """Its refusals go to its callers; others notice nothing."""
    denied = Fault("resource", status=401, path_prefix="/echo/denied")
    async with bank_fixture(None, denied, **UNHURRIED) as there:
        for _ in range(20):
            assert (await there.call("/echo/denied")).status == 401
            assert (await there.call("/echo")).status == 200
        assert len(there.bank.token_requests) == 2
        assert not entry(there).held.is_in_conflict
