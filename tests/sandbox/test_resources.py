"""The V2 resources."""

import base64
import uuid
from dataclasses import replace
from urllib.parse import urlsplit

import pytest

from proxy.sandbox.payloads import pattern
from tests.sandbox.caller import SandboxCaller

_LOOKUP = "/db-users/v1/institution-users/acorn.owner?userIdType=LOGIN_ID"


@pytest.mark.parametrize("path", ["/v1/accounts", "/db-accounts/v1/accounts"])
async def test_accounts(caller: SandboxCaller, path: str) -> None:
    """Of the institution's first user by default."""
    response = await caller.call(path)
    assert [account["accountId"] for account in response.json()["accounts"]] == [
        "880017-1",
        "880017-2",
        "880017-3",
    ]


@pytest.mark.parametrize(
    ("query", "first"),
    [
        ("hostUserId=880019", "880019-1"),
        ("loginId=acorn.owner", "880019-1"),
        ("loginId=acorn.owner&institutionCustomerId=770002", "770002-1"),
    ],
)
async def test_user_context(caller: SandboxCaller, query: str, first: str) -> None:
    """User and business in the query."""
    response = await caller.call(f"/v1/accounts?{query}")
    assert response.json()["accounts"][0]["accountId"] == first


async def test_business_in_a_header(caller: SandboxCaller) -> None:
    """On some paths."""
    response = await caller.call(
        "/v1/accounts?loginId=acorn.owner", headers={"institutionCustomerId": "770001"}
    )
    assert response.json()["accounts"][0]["accountId"] == "770001-1"


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("hostUserId=1", "CMN_90016"),
        ("loginId=basil.thyme", "CMN_90016"),
        ("loginId=acorn.owner&hostUserId=880019", "CMN_90011"),
        ("loginId=acorn.owner&institutionCustomerId=1", "CMN_90006"),
    ],
)
async def test_wrong_user_context_is_refused(caller: SandboxCaller, query: str, code: str) -> None:
    """Unknown, another institution's, two, or a foreign business."""
    assert (await caller.call(f"/v1/accounts?{query}")).code == code


async def test_user_may_be_required(caller: SandboxCaller) -> None:
    """With ``user_required``."""
    caller.bank.settings = replace(caller.bank.settings, user_required=True)
    assert (await caller.call("/v1/accounts")).code == "CMN_90016"
    assert (await caller.call("/v1/accounts?hostUserId=880017")).status == 200
    assert (await caller.call("/v1/accounts?loginId=acorn.owner")).code == "CMN_90011"


async def test_password_token_implies_its_user(caller: SandboxCaller) -> None:
    """No query is needed."""
    caller.bank.settings = replace(caller.bank.settings, user_required=True)
    pair = await caller.token(grant_type="password", username="juniper", password="moonlight")
    response = await caller.call("/v1/accounts", bearer=pair.json()["access_token"])
    assert response.json()["accounts"][0]["accountId"] == "880017-1"


async def test_literal_colon(caller: SandboxCaller) -> None:
    """An escaped one is another path."""
    headers = {"correlationId": str(uuid.uuid4())}
    response = await caller.call("/v1/customers/880017:accounts", headers=headers)
    assert response.json()["customerId"] == "880017"
    assert (await caller.call("/v1/customers/880017%3Aaccounts", headers=headers)).status == 404
    assert (await caller.call("/v1/customers/1:accounts", headers=headers)).code == "CMN_90016"


async def test_pages(caller: SandboxCaller) -> None:
    """Following absolute links returns every transaction once."""
    path, pages, seen = "/v1/transactions?accountId=880017-1", 0, set[str]()
    while path:
        page = (await caller.call(path)).json()
        pages += 1
        seen |= {entry["transactionId"] for entry in page["transactions"]}
        links = {link["rel"]: link["href"] for link in page["links"]}
        assert all(href.startswith(caller.sandbox.url + "/v1/") for href in links.values())
        assert ("prev" in links) is (pages > 1)
        following = urlsplit(links.get("next", ""))
        path = f"{following.path}?{following.query}" if following.path else ""
    assert (pages, len(seen)) == (4, 37)


@pytest.mark.parametrize(
    "query", ["", "?accountId=", "?accountId=1&limit=-1", "?accountId=1&limit=%C2%B2"]
)
async def test_wrong_page_is_refused(caller: SandboxCaller, query: str) -> None:
    """CMN_90011."""
    assert (await caller.call(f"/v1/transactions{query}")).code == "CMN_90011"


async def test_image(caller: SandboxCaller) -> None:
    """In base64 within JSON."""
    response = (await caller.call("/v1/banking-images/42")).json()
    assert (response["imageId"], response["contentType"]) == ("42", "image/png")
    assert base64.b64decode(response["image"]).startswith(b"\x89PNG")


@pytest.mark.parametrize("size", [0, 1, 65511, 1_000_000])
async def test_image_of_any_size(caller: SandboxCaller, size: int) -> None:
    """With its Content-Length."""
    response = await caller.call(f"/v1/banking-images/42?bytes={size}")
    assert int(response.headers["Content-Length"]) == len(response.body)
    assert base64.b64decode(response.json()["image"]) == b"".join(pattern(size))


async def test_transfers_are_counted(caller: SandboxCaller) -> None:
    """By transactionId, repeats included."""
    transaction = str(uuid.uuid4())
    responses = [
        await caller.call(
            "/v1/transfers", "POST", headers={"transactionId": transaction}, body=b'{"amount":"5"}'
        )
        for _ in range(2)
    ]
    assert [response.status for response in responses] == [201, 201]
    assert responses[0].json()["order"] == {"amount": "5"}
    assert caller.bank.transfers == {transaction: 2}


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"a":"' + b"x" * 70_000 + b'"}'])
async def test_transfer_must_be_an_object(caller: SandboxCaller, body: bytes) -> None:
    """Otherwise CMN_90011 and no transfer."""
    assert (await caller.call("/v1/transfers", "POST", body=body)).code == "CMN_90011"
    assert not caller.bank.transfers


async def test_business_lookup(caller: SandboxCaller) -> None:
    """Businesses with member numbers."""
    response = (await caller.call(_LOOKUP)).json()
    assert {
        customer["memberNumber"]: customer["institutionCustomerId"]
        for customer in response["institutionCustomers"]
    } == {"12-3456789": "770001", "98-7654321": "770002"}
    assert response["userType"] == "BUSINESS"


async def test_retail_lookup(caller: SandboxCaller) -> None:
    """Without businesses."""
    path = "/db-users/v1/institution-users/juniper.quill?userIdType=LOGIN_ID"
    assert (await caller.call(path)).json()["institutionCustomers"] == []


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/db-users/v1/institution-users/acorn.owner", "CMN_90011"),
        ("/db-users/v1/institution-users/ghost?userIdType=LOGIN_ID", "CMN_90016"),
    ],
)
async def test_wrong_lookup_is_refused(caller: SandboxCaller, path: str, code: str) -> None:
    """CMN_90011 or CMN_90016."""
    assert (await caller.call(path)).code == code
