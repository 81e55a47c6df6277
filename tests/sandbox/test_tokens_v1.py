"""V1 tokens: XML, both grants, every refusal."""

import uuid
from dataclasses import replace

import pytest
from defusedxml import ElementTree

from proxy.sandbox.tokens_v1 import USER_AGENT
from tests.sandbox.caller import ReceivedResponse, SandboxCaller


def fields(response: ReceivedResponse) -> dict[str, str]:
    """Return the fields of an XML response by local name."""
    root = ElementTree.fromstring(response.body)
    assert root.tag.rpartition("}")[2] == "token"
    return {child.tag.rpartition("}")[2]: child.text or "" for child in root}


async def test_client_credentials(caller: SandboxCaller) -> None:
    """The documented XML, with the request's di_tid."""
    tid = str(uuid.uuid4())
    response = await caller.v1_token(headers={"di_tid": tid})
    assert (response.status, response.headers["di_tid"]) == (200, tid)
    assert response.headers["Content-Type"] == "application/xml"
    seen = fields(response)
    assert list(seen) == ["di_fiid", "access_token", "expires_in"]
    assert (seen["di_fiid"], seen["expires_in"]) == ("00016", "1800")


async def test_password(caller: SandboxCaller) -> None:
    """Customer numbers and a refresh token of a retail user."""
    response = await caller.v1_token(
        grant_type="password", username="juniper", password="moonlight"
    )
    seen = fields(response)
    assert seen["di_ficustomer"] == "5f1d7a8e-0c54-4b1e-9d0a-6f2f6f7c1a01"
    assert seen["di_member_number"] == "100200300"
    assert seen["refresh_token"]
    assert seen["refresh_token_expires_in"] == "86400"


async def test_prefixed(caller: SandboxCaller) -> None:
    """With a namespace prefix."""
    caller.bank.settings = replace(caller.bank.settings, v1_format="prefixed")
    response = await caller.v1_token()
    assert b"<ns2:access_token>" in response.body
    assert fields(response)["di_fiid"] == "00016"


async def test_json(caller: SandboxCaller) -> None:
    """As from some gateways."""
    caller.bank.settings = replace(caller.bank.settings, v1_format="json")
    assert (await caller.v1_token()).json()["expires_in"] == "1800"


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({"di_tid": ""}, 400, "90002"),
        ({"di_tid": "x"}, 400, "90002"),
        ({"di_fiid": ""}, 400, "90002"),
        ({"di_fiid": "16a"}, 400, "90002"),
        ({"di_fiid": "00099"}, 401, "90001"),
        ({"user-agent": "nonsense"}, 400, "90002"),
        ({"Authorization": ""}, 401, "90001"),
        ({"Content-Type": "application/json"}, 400, "90002"),
    ],
)
async def test_headers_are_checked(
    caller: SandboxCaller, headers: dict[str, str], status: int, code: str
) -> None:
    """Errors are ``Status`` documents."""
    response = await caller.v1_token(headers=headers)
    assert (response.status, response.code) == (status, code)
    assert ElementTree.fromstring(response.body).tag == (
        "{http://schema.intuit.com/fs/common/v2}Status"
    )


async def test_unauthorized_institution(caller: SandboxCaller) -> None:
    """A 401."""
    caller.bank.settings = replace(caller.bank.settings, unauthorised=frozenset({"00017"}))
    assert (await caller.v1_token("00017")).status == 401


@pytest.mark.parametrize(
    ("form", "status", "code"),
    [
        ({"grant_type": "refresh_token"}, 400, "90002"),
        ({"grant_type": "password"}, 401, "90001"),
        ({"grant_type": "password", "username": "juniper", "password": "x"}, 401, "90001"),
        ({"grant_type": "password", "username": "mallow", "password": "raincoat"}, 401, "90001"),
        ({"grant_type": "password", "username": "acorn", "password": "lanterns"}, 403, "90002"),
    ],
)
async def test_forms_are_checked(
    caller: SandboxCaller, form: dict[str, str], status: int, code: str
) -> None:
    """Business users have no password grant."""
    response = await caller.v1_token(form=form)
    assert (response.status, response.code) == (status, code)


@pytest.mark.parametrize(
    ("text", "good"),
    [
        ("iPhone/1.0/abc12345;Nokia3110", True),
        ("candescent-proxy/0.1.0", True),
        ("App/1.0;Linux 6.1 (x86)", True),
        ("App", False),
        ("App/", False),
        ("/1.0", False),
        ("Python/3.11 aiohttp/3.14.5", False),
        ("App/1/2/3", False),
        ("App/1;", False),
    ],
)
def test_user_agent(text: str, good: bool) -> None:
    """``{App}/{Version}[/{DeviceID}][;{Platform}]`` only."""
    assert bool(USER_AGENT.fullmatch(text)) is good


async def test_repeated_header_is_refused(caller: SandboxCaller) -> None:
    """With an error."""
    raw = (
        b"POST /v1/oauth/token HTTP/1.1\r\nHost: x\r\ndi_fiid: 00016\r\ndi_fiid: 00017\r\n"
        b"Content-Type: application/x-www-form-urlencoded\r\nConnection: close\r\n\r\n"
    )
    assert b"Header di_fiid came more than once" in await caller.raw(raw)
