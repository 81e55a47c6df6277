"""The user context of calls."""

from typing import Any

from proxy.sandbox import Settings
from tests.candescent.setup import V1_PATH, arrivals_at, bank_fixture


async def test_retail_user_is_added() -> None:
    """Unless the caller names one; the query stays byte for byte."""
    async with bank_fixture(host_user_id="880017") as there:
        for sent, expected in (
            ("/echo", "/echo?hostUserId=880017"),
            ("/echo?a=1;b=2&c=", "/echo?a=1;b=2&c=&hostUserId=880017"),
            ("/echo?loginId=juniper.quill", "/echo?loginId=juniper.quill"),
            ("/echo?hostUserId=1", "/echo?hostUserId=1"),
            ("/v1/customers/880017:accounts", "/v1/customers/880017:accounts?hostUserId=880017"),
            ("/mx/users/echo", "/mx/users/echo"),
            (V1_PATH.format("00016"), V1_PATH.format("00016")),
        ):
            assert (await there.call(sent)).status == 200
            assert there.bank.arrivals[-1].target == expected


BAKERY: dict[str, Any] = {"login_id": "acorn.owner", "member_number": "12-3456789"}


async def test_business_user_is_added() -> None:
    """Login and customer; the look-up is cached."""
    async with bank_fixture(Settings(user_required=True), **BAKERY) as there:
        for _ in range(3):
            assert (await there.call("/v1/accounts")).status == 200
        assert there.bank.arrivals[-1].target == (
            "/v1/accounts?loginId=acorn.owner&institutionCustomerId=770001"
        )
        assert len(arrivals_at(there.bank, "/db-users/")) == 1


async def test_business_user_in_a_header() -> None:
    """As for alert history; the caller's own header has precedence."""
    async with bank_fixture(**BAKERY) as there:
        seen = await there.echo("/v1/alert-history/echo")
        assert seen["target"] == "/v1/alert-history/echo?loginId=acorn.owner"
        assert ("institutioncustomerid", "770001") in seen["headers"]
        for path in ("/v1/alert-history/echo", "/echo"):
            seen = await there.echo(path, institutionCustomerId="770002")
            found = [value for name, value in seen["headers"] if name == "institutioncustomerid"]
            assert found == ["770002"]
            assert seen["target"] == f"{path}?loginId=acorn.owner"


async def test_unknown_business_user_is_an_error() -> None:
    """Nothing is sent."""
    async with bank_fixture(login_id="acorn.owner", member_number="00-0000000") as there:
        response = await there.call("/v1/accounts")
        assert (response.status, response.error) == (503, "proxy business-user-unknown")
        assert "Retry-After" in response.headers
        assert arrivals_at(there.bank, "/v1/accounts") == []


async def test_business_user_with_a_revoked_token() -> None:
    """The token is replaced for look-up and request."""
    async with bank_fixture(**BAKERY) as there:
        there.bank.expire_all()
        assert (await there.call("/v1/accounts")).status == 200
        assert len(there.grants) == 2
