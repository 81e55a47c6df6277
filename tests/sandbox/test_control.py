"""Control of the sandbox at run time."""

from typing import Any

import pytest

from proxy.sandbox import Fault
from tests.sandbox.caller import SandboxCaller


async def test_summary_has_no_secret(caller: SandboxCaller) -> None:
    """It describes the bank."""
    bearer = await caller.bearer()
    await caller.call("/v1/accounts", bearer=bearer)
    response = await caller.control("")
    seen = response.json()
    assert seen["live_tokens"] == {"V2 00016": 1}
    assert seen["counts"] == {"issued": 1, "token ok": 1, "arrivals": 1, "resource ok": 1}
    assert bearer not in response.body.decode()
    assert "sandbox-secret" not in response.body.decode()


async def test_setting_applies_to_the_next_request(caller: SandboxCaller) -> None:
    """The others stay."""
    response = await caller.control("/settings", "PUT", {"lifetime": 5})
    assert response.json()["lifetime"] == 5
    assert (await caller.token()).json()["expires_in"] == "5"
    assert (await caller.control("/settings")).json()["v1_lifetime"] == 1800


async def test_faults_are_added_and_removed(caller: SandboxCaller) -> None:
    """They are listed with their use."""
    await caller.control("/faults", "POST", {"where": "token", "code": "CMN_90002", "times": 1})
    await caller.control("/faults", "POST", [{"where": "resource", "status": 503}])
    assert (await caller.token()).code == "CMN_90002"
    assert (await caller.call("/echo")).status == 503
    shown = (await caller.control("/faults")).json()
    assert shown == [
        {"where": "token", "code": "CMN_90002", "times": 1, "used": 1},
        {"where": "resource", "status": 503, "used": 1},
    ]
    assert (await caller.control("/faults", "DELETE")).json() == []
    assert (await caller.call("/echo")).status == 200


async def test_tokens_can_be_expired(caller: SandboxCaller) -> None:
    """Of one institution or all."""
    first, second = await caller.bearer("00016"), await caller.bearer("00017")
    assert (await caller.control("/expire", "POST", {"institution": "00017"})).json() == {
        "expired": 1
    }
    assert (await caller.call("/echo", bearer=first)).status == 200
    assert (await caller.call("/echo", bearer=second)).status == 401
    assert (await caller.control("/expire", "POST")).json() == {"expired": 1}


async def test_tokens_can_be_revoked(caller: SandboxCaller) -> None:
    """Without a request of the client."""
    bearer = await caller.bearer()
    assert (await caller.control("/revoke", "POST")).json() == {"revoked": 1}
    assert (await caller.call("/echo", bearer=bearer)).status == 401


async def test_code_for_a_user(caller: SandboxCaller) -> None:
    """For ``authorization_code``."""
    response = await caller.control("/codes", "POST", {"loginId": "juniper.quill"})
    code = response.json()["code"]
    assert (await caller.token(grant_type="authorization_code", code=code)).status == 200


async def test_reset_removes_records_and_faults(caller: SandboxCaller) -> None:
    """Settings stay."""
    await caller.token()
    caller.bank.faults.append(Fault("any", hang=True))
    seen = (await caller.control("/reset", "POST")).json()
    assert (seen["counts"], seen["faults"]) == ({}, [])


async def test_arrivals_hide_credentials(caller: SandboxCaller) -> None:
    """Optionally only the last."""
    bearer = await caller.bearer()
    for path in ("/echo/1", "/echo/2", "/echo/3"):
        await caller.call(path, bearer=bearer)
    response = await caller.control("/arrivals?last=2")
    assert [arrival["target"] for arrival in response.json()] == ["/echo/2", "/echo/3"]
    assert ["Authorization", "(hidden)"] in response.json()[0]["headers"]
    assert bearer not in response.body.decode()
    assert (await caller.control("/arrivals?last=0")).json() == []


async def test_token_requests_hide_credentials(caller: SandboxCaller) -> None:
    """Headers and forms."""
    await caller.token("00017")
    seen = (await caller.control("/token-requests")).json()
    assert [(request["kind"], request["institution"]) for request in seen] == [("V2", "00017")]
    assert ["Authorization", "(hidden)"] in seen[0]["headers"]


@pytest.mark.parametrize(
    ("method", "path", "body", "words"),
    [
        ("PUT", "/settings", {"lifetme": 1}, "lifetme: no such setting"),
        ("PUT", "/settings", {"lifetime": "5"}, "lifetime: expected seconds"),
        ("PUT", "/settings", [1], "expected a JSON object"),
        ("PUT", "/settings", b"{", "the body is not JSON"),
        ("PUT", "/settings", b"x" * 100_000, "larger than 64 KiB"),
        ("POST", "/faults", {"where": "moon"}, "where: expected one of"),
        ("POST", "/faults", [1], "expected a fault"),
        ("POST", "/faults", [{"where": "token"}, {}], "where: missing"),
        ("POST", "/expire", {"instituton": "1"}, "instituton: no such field"),
        ("POST", "/expire", {"institution": 16}, "institution: expected str"),
        ("POST", "/codes", {"loginId": "ghost"}, "loginId: no such user"),
        ("POST", "/codes", {}, "loginId: no such user"),
        ("GET", "/arrivals?last=x", None, "last: expected a number"),
    ],
)
async def test_invalid_request_is_a_400(
    caller: SandboxCaller, method: str, path: str, body: Any, words: str
) -> None:
    """With the mistake; nothing changes."""
    response = await caller.control(path, method, body)
    assert response.status == 400
    assert words in response.json()["error"]
    assert caller.bank.faults == []


async def test_unknown_path_and_method(caller: SandboxCaller) -> None:
    """A 404 lists the paths; a 405."""
    response = await caller.control("/nonsense")
    assert response.status == 404
    assert "faults" in response.json()["error"]
    response = await caller.control("/expire", "GET")
    assert (response.status, response.headers["Allow"]) == (405, "POST")
