"""The V1 resources."""

import pytest
from defusedxml import ElementTree

from tests.sandbox.caller import SandboxCaller

_XML = {"Content-Type": "application/xml"}
_GUID = "5f1d7a8e-0c54-4b1e-9d0a-6f2f6f7c1a01"


async def test_send_event(caller: SandboxCaller) -> None:
    """XML in, 204 out; it is stored."""
    path = "/subscriptions/v1/fis/00016/fiCustomers/a%20b/events"
    response = await caller.call(path, "POST", headers=_XML, body=b"<event/>")
    assert (response.status, response.body) == (204, b"")
    assert list(caller.bank.events) == [("00016", "a b", b"<event/>")]


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({"Content-Type": "application/json"}, b"<event/>"),
        (_XML, b"{}"),
        (_XML, b""),
        (_XML, b"<" + b"x" * 70_000),
    ],
)
async def test_event_must_be_small_xml(
    caller: SandboxCaller, headers: dict[str, str], body: bytes
) -> None:
    """Anything else is refused."""
    path = "/subscriptions/v1/fis/00016/fiCustomers/1/events"
    response = await caller.call(path, "POST", headers=headers, body=body)
    assert (response.status, response.code) == (400, "90002")


async def test_fi_customer(caller: SandboxCaller) -> None:
    """By GUID, in XML."""
    path = f"/bankingservices/v2/fis/00016/fiCustomers/{_GUID}?fiCustomerIdType=GUID"
    root = ElementTree.fromstring((await caller.call(path)).body)
    seen = {child.tag.rpartition("}")[2]: child.text for child in root}
    assert seen == {
        "id": _GUID,
        "fiId": "00016",
        "memberNumber": "100200300",
        "loginId": "juniper.quill",
    }


@pytest.mark.parametrize(
    ("path", "status"),
    [
        (f"/bankingservices/v2/fis/00016/fiCustomers/{_GUID}", 400),
        ("/bankingservices/v2/fis/00016/fiCustomers/x?fiCustomerIdType=GUID", 404),
        (f"/bankingservices/v2/fis/00017/fiCustomers/{_GUID}?fiCustomerIdType=GUID", 404),
    ],
)
async def test_wrong_customer_is_refused(caller: SandboxCaller, path: str, status: int) -> None:
    """Type, id and institution."""
    response = await caller.call(path)
    assert (response.status, response.code) == (status, "90002")


async def test_registrations_have_numbers(caller: SandboxCaller) -> None:
    """They are unique."""
    path = "/registration/v4/fis/00016/fiCustomers"
    first, second = [
        await caller.call(path, "POST", headers=_XML, body=b"<customer/>") for _ in range(2)
    ]
    assert (first.status, second.status) == (201, 201)
    assert first.body != second.body
