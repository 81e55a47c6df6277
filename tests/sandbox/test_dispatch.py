"""Which clerk serves a call."""

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
async def test_wrong_method(caller: SandboxCaller, method: str, path: str) -> None:
    """A wrong method is the gateway's 405."""
    response = await caller.call(path, method)
    assert (response.status, response.code.rpartition(".")[2]) == (405, "MethodNotAllowed")


async def test_unknown_path(caller: SandboxCaller) -> None:
    """An unknown path is the gateway's 404, for those who have a token."""
    assert (await caller.call("/v1/nothing")).status == 404
    assert (await caller.call("/v1/nothing", bearer="x")).status == 401


async def test_base_path(caller: SandboxCaller) -> None:
    """With a base path, everything lives behind it and nothing before it."""
    caller.bank.settings = replace(caller.bank.settings, base_path="/digitalbanking/stage")
    assert (await caller.token()).status == 404
    caller.bank.url += "/digitalbanking/stage"
    assert (await caller.call("/v1/accounts")).status == 200
    assert (await caller.control("")).status == 200
    assert caller.bank.arrivals[-1].target == "/digitalbanking/stage/v1/accounts"


async def test_arrivals(caller: SandboxCaller) -> None:
    """What reaches a resource is in the books as it came, refused or not; token calls are not."""
    await caller.call("/echo/%7e?x=1", "POST", body=b"hello")
    await caller.call("/v1/accounts", bearer="x")
    served, refused = caller.bank.arrivals
    assert (served.method, served.target) == ("POST", "/echo/%7e?x=1")
    assert (served.body, served.complete, served.status) == (b"hello", True, 200)
    assert (refused.status, refused.outcome) == (401, "CMN_90018")
    assert caller.bank.counts["arrivals"] == 2


async def test_answers_carry_identifiers(caller: SandboxCaller) -> None:
    """V2 answers carry the request's transactionId, V1 answers its di_tid, faults or not."""
    number = str(uuid.uuid4())
    for fault in (None, Fault("resource", status=500, times=2)):
        caller.bank.faults[:] = [fault] if fault else []
        response = await caller.call("/echo", headers={"transactionId": number})
        assert response.headers["transactionId"] == number
        response = await caller.call("/fis/00016/echo", headers={"di_tid": number})
        assert response.headers["di_tid"] == number


async def test_latency(caller: SandboxCaller) -> None:
    """Latency is added to every answer, and more to those of the token endpoints."""
    bearer = await caller.bearer()
    caller.bank.settings = replace(caller.bank.settings, latency=0.05, token_latency=0.1)
    began = asyncio.get_running_loop().time()
    await caller.call("/echo", bearer=bearer)
    between = asyncio.get_running_loop().time()
    await caller.token()
    assert between - began >= 0.05
    assert asyncio.get_running_loop().time() - between >= 0.15


async def test_fault_of_a_refresh_without_institution(caller: SandboxCaller) -> None:
    """A refresh that names no institution is its token's, for faults and books too."""
    pair = (
        await caller.token(grant_type="password", username="juniper", password="moonlight")
    ).json()
    caller.bank.faults.append(Fault("token", status=500, institution="00016"))
    again = {"grant_type": "refresh_token", "refresh_token": pair["refresh_token"]}
    assert (await caller.token("", form=again)).status == 500
    assert caller.bank.token_requests[-1].institution == "00016"
