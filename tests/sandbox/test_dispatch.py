"""Dispatch of calls to endpoints."""

import asyncio
import uuid
from dataclasses import replace

import pytest

from proxy.sandbox import Fault
from tests.sandbox.caller import SandboxCaller


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/oauth2/v1/token"),
        ("POST", "/oauth2/v1/revoke"),
        ("GET", "/v1/oauth/token"),
        ("POST", "/v1/accounts"),
        ("GET", "/v1/transfers"),
    ],
)
async def test_wrong_method_is_a_405(caller: SandboxCaller, method: str, path: str) -> None:
    """In the gateway's shape."""
    response = await caller.call(path, method)
    assert (response.status, response.code.rpartition(".")[2]) == (405, "MethodNotAllowed")


async def test_unknown_path_is_a_404(caller: SandboxCaller) -> None:
    """With a valid token."""
    assert (await caller.call("/v1/nothing")).status == 404
    assert (await caller.call("/v1/nothing", bearer="x")).status == 401


async def test_base_path_is_required(caller: SandboxCaller) -> None:
    """If it is configured."""
    caller.bank.settings = replace(caller.bank.settings, base_path="/digitalbanking/stage")
    assert (await caller.token()).status == 404
    caller.bank.url += "/digitalbanking/stage"
    assert (await caller.call("/v1/accounts")).status == 200
    assert (await caller.control("")).status == 200
    assert caller.bank.arrivals[-1].target == "/digitalbanking/stage/v1/accounts"


async def test_arrivals_are_recorded(caller: SandboxCaller) -> None:
    """Resource calls, refused ones included."""
    await caller.call("/echo/%7e?x=1", "POST", body=b"hello")
    await caller.call("/v1/accounts", bearer="x")
    served, refused = caller.bank.arrivals
    assert (served.method, served.target) == ("POST", "/echo/%7e?x=1")
    assert (served.body, served.complete, served.status) == (b"hello", True, 200)
    assert (refused.status, refused.outcome) == (401, "CMN_90018")
    assert caller.bank.counts["arrivals"] == 2


async def test_responses_have_ids(caller: SandboxCaller) -> None:
    """TransactionId in V2, di_tid in V1."""
    number = str(uuid.uuid4())
    for fault in (None, Fault("resource", status=500, times=2)):
        caller.bank.faults[:] = [fault] if fault else []
        response = await caller.call("/echo", headers={"transactionId": number})
        assert response.headers["transactionId"] == number
        response = await caller.call("/fis/00016/echo", headers={"di_tid": number})
        assert response.headers["di_tid"] == number


async def test_latency_is_added(caller: SandboxCaller) -> None:
    """More for token endpoints."""
    bearer = await caller.bearer()
    caller.bank.settings = replace(caller.bank.settings, latency=0.05, token_latency=0.1)
    began = asyncio.get_running_loop().time()
    await caller.call("/echo", bearer=bearer)
    between = asyncio.get_running_loop().time()
    await caller.token()
    assert between - began >= 0.05
    assert asyncio.get_running_loop().time() - between >= 0.15


async def test_refresh_without_institution(caller: SandboxCaller) -> None:
    """It belongs to its token's institution."""
    pair = (
        await caller.token(grant_type="password", username="juniper", password="moonlight")
    ).json()
    caller.bank.faults.append(Fault("token", status=500, institution="00016"))
    again = {"grant_type": "refresh_token", "refresh_token": pair["refresh_token"]}
    assert (await caller.token("", form=again)).status == 500
    assert caller.bank.token_requests[-1].institution == "00016"
