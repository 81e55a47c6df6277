"""Faults of token endpoints and resources."""

import asyncio
import json
from typing import Any

import aiohttp
import pytest

from proxy.sandbox import UNTOUCHED, Fault
from proxy.sandbox.faults import Place, choose
from proxy.sandbox.payloads import BOMB, pattern_sha256
from tests.sandbox.caller import SandboxCaller


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [
        (Fault("token", code="CMN_90002"), 500, "CMN_90002"),
        (Fault("token", code="CMN_90003", status=429), 429, "CMN_90003"),
        (Fault("token", status=429), 429, "CMN_90002"),
        (Fault("token", status=401), 401, "CMN_90004"),
        (Fault("token", status=503), 503, "CMN_90000"),
        (Fault("token", shape="cmn"), 500, "CMN_90000"),
        (Fault("token", shape="v1", code="CMN_90002"), 500, "90002"),
        (Fault("token", code="QuotaViolation"), 429, "policies.ratelimit.QuotaViolation"),
        (
            Fault("token", code="SpikeArrestViolation/500"),
            500,
            "policies.ratelimit.SpikeArrestViolation",
        ),
    ],
)
async def test_errors(caller: SandboxCaller, fault: Fault, status: int, code: str) -> None:
    """A code has its status and shape; both can be changed."""
    caller.bank.faults.append(fault)
    response = await caller.token()
    assert (response.status, response.code) == (status, code)


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [
        (Fault("v1token", code="CMN_90002"), 500, "90002"),
        (Fault("v1token", code="91000"), 500, "91000"),
        (Fault("v1token", status=403), 403, "90001"),
        (Fault("v1token", status=429), 429, "91000"),
        (Fault("v1token", shape="v1"), 500, "90002"),
    ],
)
async def test_v1_errors(caller: SandboxCaller, fault: Fault, status: int, code: str) -> None:
    """The default shape is ``Status``."""
    caller.bank.faults.append(fault)
    response = await caller.v1_token()
    assert (response.status, response.code) == (status, code)


async def test_headers_are_added(caller: SandboxCaller) -> None:
    """As Retry-After."""
    caller.bank.faults.append(Fault("token", status=429, headers={"Retry-After": "3"}))
    assert (await caller.token()).headers["Retry-After"] == "3"


@pytest.mark.parametrize(
    ("shape", "content_type", "begin"),
    [
        ("html", "text/html", b"<!DOCTYPE html>"),
        ("empty", "application/json", b""),
        ("notoken", "application/json", b'{"expires_in":"3600"'),
        ("notjson", "application/json", b'{"access_token":"half'),
        ("bomb", "application/xml", BOMB),
        (b"\xff\xfe", "application/octet-stream", b"\xff\xfe"),
    ],
)
async def test_bodies_without_a_token(
    caller: SandboxCaller, shape: str | bytes, content_type: str, begin: bytes
) -> None:
    """With status 200."""
    caller.bank.faults.append(Fault("token", shape=shape))
    response = await caller.token()
    assert (response.status, response.headers["Content-Type"]) == (200, content_type)
    assert response.body.startswith(begin)
    assert bool(response.body) == bool(begin)


async def test_v1_bodies_without_a_token(caller: SandboxCaller) -> None:
    """In XML."""
    caller.bank.faults.append(Fault("v1token", shape="notoken"))
    assert (await caller.v1_token()).body == b"<token><expires_in>1799</expires_in></token>"


async def test_huge_body(caller: SandboxCaller) -> None:
    """Fifty megabytes."""
    caller.bank.faults.append(Fault("token", shape="huge"))
    assert len((await caller.token()).body) == 50_000_000


async def test_truncated_body(caller: SandboxCaller) -> None:
    """Shorter than Content-Length."""
    caller.bank.faults.append(Fault("token", shape="truncated"))
    with pytest.raises(aiohttp.ClientPayloadError):
        await caller.token()


@pytest.mark.parametrize("value", ["0", "-1", "abc", 1e308, 1, None])
async def test_expires_in(caller: SandboxCaller, value: Any) -> None:
    """Any value; the token is valid."""
    caller.bank.faults.append(Fault("token", expires_in=value))
    fields = (await caller.token()).json()
    assert fields["expires_in"] == value
    assert (await caller.call("/v1/accounts", bearer=fields["access_token"])).status == 200


async def test_fields_can_be_left_out(caller: SandboxCaller) -> None:
    """Of a good response."""
    caller.bank.faults.append(Fault("token", without=("expires_in", "token_type")))
    assert list((await caller.token()).json()) == ["access_token"]


async def test_token_with_line_break(caller: SandboxCaller) -> None:
    """In JSON and XML."""
    caller.bank.faults.append(Fault("token", token_text="a\r\nX-Evil: 1"))
    caller.bank.faults.append(Fault("v1token", token_text="a\r\nX-Evil: 1"))
    assert (await caller.token()).json()["access_token"] == "a\r\nX-Evil: 1"
    assert b"<access_token>a&#13;&#10;X-Evil: 1</access_token>" in (await caller.v1_token()).body


async def test_hang(caller: SandboxCaller) -> None:
    """Until the caller disconnects."""
    caller.bank.faults.append(Fault("token", hang=True, times=1))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await caller.token()
    assert (await caller.token()).status == 200


async def test_reset(caller: SandboxCaller) -> None:
    """Before a byte of the response."""
    caller.bank.faults.append(Fault("token", reset=True, times=1))
    with pytest.raises(aiohttp.ClientOSError):
        await caller.token()


async def test_delay(caller: SandboxCaller) -> None:
    """The response is late and good."""
    caller.bank.faults.append(Fault("token", delay=0.2))
    began = asyncio.get_running_loop().time()
    assert (await caller.token()).status == 200
    assert asyncio.get_running_loop().time() - began >= 0.2


async def test_reset_after_head(caller: SandboxCaller) -> None:
    """And half of the body."""
    caller.bank.faults.append(Fault("resource", reset=True, after_head=True))
    with pytest.raises(aiohttp.ClientPayloadError, match="reset"):
        await caller.call("/v1/accounts")


@pytest.mark.parametrize("target", ["/download?bytes=300000", "/download?bytes=300000&chunked=1"])
async def test_truncated_response(caller: SandboxCaller, target: str) -> None:
    """Sized or chunked."""
    caller.bank.faults.append(Fault("resource", cut=True))
    with pytest.raises(aiohttp.ClientPayloadError):
        await caller.call(target)


async def test_slow_response(caller: SandboxCaller) -> None:
    """Byte by byte, complete."""
    caller.bank.faults.append(Fault("resource", dribble=0.001))
    assert (await caller.call("/upload", "PUT", body=b"x")).json()["bytes"] == 1


async def test_late_reset_follows_the_work(caller: SandboxCaller) -> None:
    """A transfer is made and its response lost."""
    caller.bank.faults.append(Fault("resource", reset=True, late=True, path_prefix="/v1/transfers"))
    with pytest.raises(aiohttp.ClientOSError):
        await caller.call("/v1/transfers", "POST", body=b"{}")
    assert caller.bank.transfers.total() == 1


async def test_early_reset_precedes_the_work(caller: SandboxCaller) -> None:
    """By default."""
    caller.bank.faults.append(Fault("resource", reset=True))
    with pytest.raises(aiohttp.ClientOSError):
        await caller.call("/v1/transfers", "POST", body=b"{}")
    assert caller.bank.transfers.total() == 0
    assert caller.bank.arrivals[-1].body == b"{}"


async def test_late_error_follows_the_work(caller: SandboxCaller) -> None:
    """The transfer is made."""
    caller.bank.faults.append(Fault("resource", status=500, late=True))
    assert (await caller.call("/v1/transfers", "POST", body=b"{}")).status == 500
    assert caller.bank.transfers.total() == 1


async def test_response_before_the_body_is_read(caller: SandboxCaller) -> None:
    """The upload is not read."""
    caller.bank.faults.append(Fault("resource", status=500, unread=True))
    assert (await caller.call("/upload", "PUT", body=b"x" * 100_000)).status == 500
    assert caller.bank.arrivals[-1].complete is False


async def test_raw_bytes(caller: SandboxCaller) -> None:
    """Instead of a response."""
    caller.bank.faults.append(Fault("resource", wire=b"HTTP/1.1 999 What\r\n\r\n"))
    raw = b"GET /v1/accounts HTTP/1.1\r\nHost: x\r\n\r\n"
    assert await caller.raw(raw) == b"HTTP/1.1 999 What\r\n\r\n"


async def test_raw_bytes_on_an_open_connection(caller: SandboxCaller) -> None:
    """It serves the next request."""
    good = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
    caller.bank.faults.append(Fault("resource", wire=good, keep_open=True, times=1))
    raw = b"GET /v1/accounts HTTP/1.1\r\nHost: x\r\n\r\n"
    seen = await caller.raw(raw + raw, until=b" 401 ")
    assert seen.startswith(good + b"HTTP/1.1 401")


async def test_times_and_skip(caller: SandboxCaller) -> None:
    """``skip`` requests pass, then ``times`` fail."""
    fault = Fault("token", status=500, skip=1, times=2)
    caller.bank.faults.append(fault)
    assert [(await caller.token()).status for _ in range(4)] == [200, 500, 500, 200]
    assert (fault.used, fault.is_used_up) == (2, True)


async def test_fault_of_an_institution_or_grant(caller: SandboxCaller) -> None:
    """Others are not affected."""
    caller.bank.faults.append(Fault("token", status=500, institution="00017"))
    caller.bank.faults.append(Fault("token", status=503, grant="password"))
    assert (await caller.token("00016")).status == 200
    assert (await caller.token("00017")).status == 500
    assert (await caller.token("00016", grant_type="password")).status == 503


async def test_institution_of_a_resource(caller: SandboxCaller) -> None:
    """Of path, header, or token."""
    caller.bank.faults.append(Fault("resource", status=500, institution="00017"))
    assert (await caller.call("/v1/accounts")).status == 200
    bearer = await caller.bearer("00017")
    assert (await caller.call("/v1/accounts", bearer=bearer)).status == 500
    assert (await caller.call("/fis/00017/echo")).status == 500


@pytest.mark.parametrize(
    ("where", "hit"),
    [
        ("token", {"token"}),
        ("v1token", {"v1token"}),
        ("revoke", {"revoke"}),
        ("lookup", {"lookup"}),
        ("resource", {"lookup", "resource"}),
        ("any", {"token", "v1token", "revoke", "lookup", "resource"}),
    ],
)
async def test_fault_applies_to_its_endpoint(
    caller: SandboxCaller, where: str, hit: set[str]
) -> None:
    """And to no other."""
    bearer = await caller.bearer()
    caller.bank.faults.append(Fault(where, status=503))
    look_up = "/db-users/v1/institution-users/acorn.owner?userIdType=LOGIN_ID"
    responses = {
        "token": await caller.token(),
        "v1token": await caller.v1_token(),
        "lookup": await caller.call(look_up, bearer=bearer),
        "resource": await caller.call("/v1/accounts", bearer=bearer),
        "revoke": await caller.revoke(bearer),
    }
    assert {place for place, response in responses.items() if response.status == 503} == hit


def test_fault_of_a_method_and_path() -> None:
    """Others are not affected."""
    fault = Fault("resource", status=500, method="GET", path_prefix="/v1/")
    assert choose([fault], Place(("resource",), "POST", "/v1/x")) is None
    assert choose([fault], Place(("resource",), "GET", "/v2/x")) is None
    assert choose([fault], Place(("resource",), "GET", "/v1/x")) is fault


@pytest.mark.parametrize(
    "wrong",
    [{"where": "moon"}, {"shape": "round"}, {"code": "CMN_1"}, {"status": 99}],
)
def test_invalid_fault_is_refused(wrong: dict[str, Any]) -> None:
    """With a ``ValueError``."""
    with pytest.raises(ValueError, match=r"expected|unknown"):
        Fault(**({"where": "token"} | wrong))


def test_marker_of_unchanged_fields_has_a_repr() -> None:
    """It is readable."""
    assert "expires_in=UNTOUCHED" in repr(Fault("token"))
    assert repr(UNTOUCHED) == "UNTOUCHED"


async def test_outcome_is_recorded(caller: SandboxCaller) -> None:
    """Of each request."""
    for fault in (
        Fault("token", code="CMN_90002", times=1),
        Fault("token", shape="html", times=1),
        Fault("token", shape=b"x", times=1),
        Fault("token", status=500, times=1),
        Fault("token", expires_in="0", times=1),
    ):
        caller.bank.faults.append(fault)
        await caller.token()
    outcomes = [request.outcome for request in caller.bank.token_requests]
    assert outcomes == ["CMN_90002", "html", "bytes", "500", "ok"]


async def test_large_response_without_a_fault(caller: SandboxCaller) -> None:
    """It is complete."""
    response = await caller.call("/echo", "POST", body=b"x" * 100_000)
    assert json.loads(response.body)["body"]["bytes"] == 100_000
    assert pattern_sha256(0) == (await caller.call("/echo")).json()["body"]["sha256"]
