"""Quota and spike limits."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.sandbox.request_limits import RequestLimits
from tests.sandbox.caller import Clock, SandboxCaller

_steps = st.lists(st.floats(min_value=0, max_value=2, allow_nan=False), max_size=60)


@given(_steps, st.integers(1, 5), st.integers(1, 5))
def test_limits_are_never_exceeded(steps: list[float], quota: int, spike: int) -> None:
    """In a window and in a second."""
    limits, now, let_in = RequestLimits(), 0.0, list[float]()
    for step in steps:
        now += step
        if limits.exceeded("key", now, quota=quota, window=10, spike=spike) is None:
            let_in.append(now)
    for index, first in enumerate(let_in):
        assert sum(1 for time in let_in[index:] if time < first + 1 - 1e-9) <= spike
    assert len(let_in) <= quota * (now // 10 + 1)


def test_without_limits_nothing_is_recorded() -> None:
    """No memory is used."""
    limits = RequestLimits()
    assert limits.exceeded("key", 0, quota=None, window=60, spike=None) is None
    assert not limits.counts


async def test_quota_counts(caller: SandboxCaller, clock: Clock) -> None:
    """CMN_90002 with 500 until the next window."""
    caller.bank.settings = replace(caller.bank.settings, quota=2, quota_window=60)
    assert [(await caller.token()).status for _ in range(2)] == [200, 200]
    refused = await caller.token()
    assert (refused.status, refused.code) == (500, "CMN_90002")
    clock.now += 60
    assert (await caller.token()).status == 200


async def test_spike_counts(caller: SandboxCaller, clock: Clock) -> None:
    """CMN_90003 with 500 within a second."""
    caller.bank.settings = replace(caller.bank.settings, spike=1)
    assert (await caller.token()).status == 200
    assert (await caller.token()).code == "CMN_90003"
    clock.now += 1
    assert (await caller.token()).status == 200


async def test_v1_has_its_own_codes(caller: SandboxCaller) -> None:
    """91000 and 92000, with 500."""
    caller.bank.settings = replace(caller.bank.settings, quota=0)
    response = await caller.v1_token()
    assert (response.status, response.code) == (500, "91000")
    caller.bank.settings = replace(caller.bank.settings, quota=None, spike=0)
    assert (await caller.v1_token()).code == "92000"


async def test_gateway_spelling(caller: SandboxCaller) -> None:
    """A 429 with ``Retry-After``, if configured."""
    caller.bank.settings = replace(
        caller.bank.settings, quota=0, limit_status=429, limited_as="apigee", retry_after=7
    )
    response = await caller.token()
    assert (response.status, response.headers["Retry-After"]) == (429, "7")
    assert response.code == "policies.ratelimit.QuotaViolation"


@pytest.mark.parametrize(("per", "status"), [("institution", 200), ("client", 500)])
async def test_per_institution(caller: SandboxCaller, per: str, status: int) -> None:
    """If configured."""
    caller.bank.settings = replace(caller.bank.settings, quota=1, limits_per=per)
    assert (await caller.token("00016")).status == 200
    assert (await caller.token("00017")).status == status


async def test_at_resources(caller: SandboxCaller) -> None:
    """If configured."""
    caller.bank.settings = replace(caller.bank.settings, quota=1, limits_on="resource")
    bearer = await caller.bearer()
    assert (await caller.call("/v1/accounts", bearer=bearer)).status == 200
    assert (await caller.call("/v1/accounts", bearer=bearer)).code == "CMN_90002"
    assert (await caller.token()).status == 200
