"""V1 and V2 on one port."""

import uuid
from collections import Counter

import pytest

from proxy.sandbox import Settings
from tests.candescent.setup import CUSTOMER, EVENT, V1_PATH, bank_fixture


async def test_v1_and_v2_on_one_port() -> None:
    """Every kind of public V1 call, and V2."""
    async with bank_fixture() as there:
        xml = {"Content_Type": "text/xml"}
        sent = {name.replace("_", "-"): value for name, value in xml.items()}
        events = f"/subscriptions/v1/fis/00016/fiCustomers/{CUSTOMER}/events"
        customer = f"/bankingservices/v2/fis/00016/fiCustomers/{CUSTOMER}?fiCustomerIdType=GUID"
        register = "/registration/v4/fis/00016/fiCustomers"
        assert (await there.call(events, "POST", EVENT, **sent)).status == 204
        assert CUSTOMER.encode() in (await there.call(customer)).body
        assert (await there.call(register, "POST", b"<a/>", **sent)).status == 201
        assert "accounts" in (await there.call("/v1/accounts")).json()
        assert (await there.call("/v1/customers/880017:accounts")).status == 200
        assert there.bank.events[0] == ("00016", CUSTOMER, EVENT)
        kinds = Counter(asked.kind for asked in there.bank.token_requests)
        assert kinds == {"V1": 1, "V2": 1}


async def test_v2_headers() -> None:
    """Token, transactionId, institutionId, correlationId, none of V1's."""
    async with bank_fixture() as there:
        mine = str(uuid.uuid4())
        seen = await there.echo(transactionId=mine, Authorization="Bearer mine", di_fiid="00099")
        names = Counter(name for name, _ in seen["headers"])
        wanted = ("authorization", "transactionid", "institutionid", "correlationid")
        assert [names[name] for name in wanted] == [1, 1, 1, 1]
        assert not names.keys() & {"di_tid", "di_fiid"}
        headers = dict(seen["headers"])
        assert headers["transactionid"] == headers["correlationid"] == mine
        assert (headers["institutionid"], seen["generation"]) == ("00016", "V2")


async def test_v1_headers() -> None:
    """Token and one di_tid, the caller's if it is a UUID."""
    async with bank_fixture() as there:
        mine, other = str(uuid.uuid4()), str(uuid.uuid4())
        seen = await there.echo(V1_PATH.format("00016"), di_tid=mine, transactionId=other)
        names = Counter(name for name, _ in seen["headers"])
        assert (names["authorization"], names["di_tid"]) == (1, 1)
        assert not names.keys() & {"transactionid", "institutionid", "correlationid"}
        assert (dict(seen["headers"])["di_tid"], seen["generation"]) == (mine, "V1")
        for sent in ("not-a-uuid", ""):
            made = dict((await there.echo(V1_PATH.format("00016"), di_tid=sent))["headers"])
            assert uuid.UUID(made["di_tid"]).version == 4


@pytest.mark.parametrize("written", ["xml", "prefixed", "json"])
async def test_v1_token_in_every_format(written: str) -> None:
    """XML with and without namespace, and JSON."""
    async with bank_fixture(Settings(v1_format=written)) as there:
        assert (await there.echo(V1_PATH.format("00016")))["generation"] == "V1"


async def test_configured_routes_have_precedence() -> None:
    """In both directions."""
    routes = [{"path": "/destinations/**", "token": "v1"}, {"path": "/a/fis/**", "token": "v2"}]
    async with bank_fixture(routes=routes, allowed_institutions="00017") as there:
        await there.call("/destinations/v1/x", institutionId="00017")
        await there.call("/a/fis/00016/echo")
        kinds = [(asked.kind, asked.institution) for asked in there.bank.token_requests]
        assert [*dict.fromkeys(kinds)] == [("V2", "00016"), ("V1", "00017")]
