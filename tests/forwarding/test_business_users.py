"""Business users: the customer id of a login and member number, looked up at the sandbox bank."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import ProxyError, TokenError, kinds
from proxy.forwarding.business_users import (
    CACHE_TTL,
    FAILURE_TTL,
    BusinessUserDirectory,
    UserContextInjector,
    customer_in,
)
from proxy.forwarding.patterns import Pattern
from proxy.forwarding.transaction_ids import new_transaction_id
from proxy.forwarding.user_context import HeaderPaths, UserContext
from proxy.runtime.clock import now
from proxy.sandbox import Arrival, Fault, Sandbox
from proxy.tokens.cache import TokenCache
from proxy.tokens.client_authentication import Credentials
from proxy.tokens.endpoint import BankEndpoint
from proxy.tokens.grants import ApplicationInfo, Login
from proxy.tokens.refresh_policy import RefreshPolicy
from proxy.tokens.refresh_tokens import RefreshTokens
from proxy.tokens.token import TokenKey, TokenKind
from tests.support.dialing import bank_client
from tests.support.running import until

KEY = TokenKey(TokenKind.V2, "00016")
BAKERY = UserContext(login_id="acorn.owner", member_number="12-3456789")
BICYCLES = UserContext(login_id="acorn.owner", member_number="98-7654321")
STRANGER = UserContext(login_id="acorn.owner", member_number="00-0000000")


@dataclass
class DirectoryHarness:
    """A directory, its bank, and a clock that advances only when set."""

    bank: Sandbox
    directory: BusinessUserDirectory
    now: float = 0.0

    async def look_up(self, user: UserContext = BAKERY) -> str:
        """Return the customer id of a user of the default institution."""
        return await self.directory.customer_id(user, KEY)

    async def look_up_error(self, user: UserContext = BAKERY) -> ProxyError:
        """Return the error of looking up a user."""
        with pytest.raises(ProxyError) as error:
            await self.look_up(user)
        return error.value

    @property
    def look_ups(self) -> list[Arrival]:
        """The look-ups that reached the bank."""
        return list(self.bank.bank.arrivals)

    def remove_businesses(self) -> None:
        """Remove all business customers from the bank."""
        settings = self.bank.bank.settings
        users = tuple(replace(user, businesses=()) for user in settings.users)
        self.bank.bank.settings = replace(settings, users=users)


@asynccontextmanager
async def directory_harness(
    *faults: Fault, path: str = "/db-users/v1/institution-users"
) -> AsyncIterator[DirectoryHarness]:
    """Open a directory in front of a sandbox with these faults; any token may be rejected."""
    async with Sandbox() as bank:
        bank.bank.faults.extend(faults)
        client = bank_client(bank.url, timeout=1)
        login = Login(Credentials("sandbox-client", "sandbox-secret"))
        endpoint = BankEndpoint(
            client,
            lambda _: login,
            RefreshTokens(now),
            clock=now,
            new_id=new_transaction_id,
            caller=ApplicationInfo("bench/1.0"),
            warn=print,
        )
        policy = RefreshPolicy(min_interval=0.0)
        tokens = TokenCache(endpoint, policy, clock=now, chance=lambda: 0.5, emit=lambda _: None)
        directory = BusinessUserDirectory(
            client,
            tokens,
            path=path,
            new_id=new_transaction_id,
            timer=lambda: there.now,
        )
        there = DirectoryHarness(bank, directory)
        yield there
        await tokens.close()
        await client.close()


async def test_customer_is_cached_by_member_number() -> None:
    """Each member number is looked up once, and again after the cache time."""
    async with directory_harness() as there:
        assert await there.look_up() == "770001"
        assert await there.look_up(BICYCLES) == "770002"
        assert await there.look_up() == "770001"
        assert len(there.look_ups) == 2
        there.now = CACHE_TTL
        assert await there.look_up() == "770001"
        assert len(there.look_ups) == 3


async def test_look_up_is_the_documented_call() -> None:
    """The path contains the login, and the headers are those of V2."""
    async with directory_harness() as there:
        await there.look_up_error(UserContext(login_id="a b/c@d", member_number="1"))
        (call,) = there.look_ups
    assert call.target == "/db-users/v1/institution-users/a%20b%2Fc@d?userIdType=LOGIN_ID"
    assert call.header("institutionId") == "00016"
    assert len(str(call.header("transactionId"))) == 36


async def test_look_up_uses_the_configured_prefix() -> None:
    """A base URL without a prefix is called without one."""
    async with directory_harness(path="/v1/institution-users") as there:
        assert "responded 404" in (await there.look_up_error()).detail
    assert there.look_ups[0].target == "/v1/institution-users/acorn.owner?userIdType=LOGIN_ID"


async def test_concurrent_look_ups_share_one_call() -> None:
    """Concurrent requests for one customer cause one call."""
    async with directory_harness(Fault("lookup", delay=0.1)) as there:
        found = await asyncio.gather(*(there.look_up() for _ in range(50)))
        assert set(found) == {"770001"}
        assert len(there.look_ups) == 1


async def test_cancelled_look_up_does_not_cancel_others() -> None:
    """When the calling request is cancelled, the next one calls."""
    async with directory_harness(Fault("lookup", delay=0.2, times=1)) as there:
        first = asyncio.ensure_future(there.look_up())
        others = [asyncio.ensure_future(there.look_up()) for _ in range(3)]
        await until(lambda: there.look_ups)
        first.cancel()
        assert await asyncio.gather(*others) == ["770001"] * 3


async def test_unknown_member_number_is_cached() -> None:
    """The error is the proxy's own; it is cached for a while and then looked up again."""
    async with directory_harness() as there:
        error = await there.look_up_error(STRANGER)
        assert error.kind is kinds.BUSINESS_USER_UNKNOWN
        assert error.retry_after == FAILURE_TTL
        assert "member_number" in error.detail
        assert "00-0000000" not in error.detail
        await there.look_up_error(STRANGER)
        assert len(there.look_ups) == 1
        there.now = FAILURE_TTL
        await there.look_up_error(STRANGER)
        assert len(there.look_ups) == 2


@pytest.mark.parametrize(
    ("fault", "reported"),
    [
        (Fault("lookup", status=500), "responded 500"),
        (Fault("lookup", code="CMN_90006/403"), "responded 403"),
        (Fault("lookup", status=302, shape="empty"), "responded 302"),
        (Fault("lookup", shape="html"), "member_number"),
        (Fault("lookup", reset=True), "cannot be reached"),
        (Fault("lookup", hang=True), "did not respond"),
        (Fault("lookup", shape="truncated"), "not HTTP"),
    ],
    ids=lambda value: value.name if isinstance(value, Fault) else "",
)
async def test_failed_look_up_is_reported(fault: Fault, reported: str) -> None:
    """Each failure has its error, and the next look-up succeeds when the bank recovers."""
    async with directory_harness(fault) as there:
        assert reported in (await there.look_up_error()).detail
        there.bank.bank.faults.clear()
        there.now += FAILURE_TTL
        assert await there.look_up() == "770001"


async def test_cached_customer_is_used_while_the_bank_fails() -> None:
    """An expired entry is used while the look-up fails."""
    async with directory_harness() as there:
        assert await there.look_up() == "770001"
        there.bank.bank.faults.append(Fault("lookup", status=500))
        there.now += CACHE_TTL
        assert [await there.look_up() for _ in range(3)] == ["770001"] * 3
        assert len(there.look_ups) == 2


async def test_removed_customer_is_not_used() -> None:
    """A customer that the bank no longer lists is dropped."""
    async with directory_harness() as there:
        assert await there.look_up() == "770001"
        there.remove_businesses()
        there.now += CACHE_TTL
        assert "member_number" in (await there.look_up_error()).detail


async def test_refused_token_is_replaced() -> None:
    """The look-up is repeated with a new token."""
    async with directory_harness() as there:
        assert await there.look_up() == "770001"
        there.bank.bank.expire_all()
        assert await there.look_up(BICYCLES) == "770002"
        assert [call.status for call in there.look_ups] == [200, 401, 200]


async def test_second_refusal_is_the_result() -> None:
    """There is no third call."""
    async with directory_harness(Fault("lookup", code="CMN_90018")) as there:
        assert "responded 401" in (await there.look_up_error()).detail
        assert len(there.look_ups) == 2


async def test_token_error_is_returned_and_not_cached() -> None:
    """Without a token the caller gets the token's error."""
    async with directory_harness(Fault("token", code="CMN_90000", times=1)) as there:
        error = await there.look_up_error()
        assert isinstance(error, TokenError)
        assert there.look_ups == []


@pytest.mark.parametrize(
    ("customers", "expected"),
    [
        ([{"memberNumber": "1", "institutionCustomerId": "7"}], "7"),
        ([{"memberNumber": 1, "institutionCustomerId": 7}], "7"),
        ([{"memberNumber": "2", "institutionCustomerId": "7"}], None),
        ([{"memberNumber": "1"}, {"memberNumber": "1", "institutionCustomerId": "8"}], "8"),
        ([{"memberNumber": "1", "institutionCustomerId": None}], None),
        ([{"memberNumber": "1", "institutionCustomerId": ""}], None),
        ([{"memberNumber": "1", "institutionCustomerId": "a\r\nb: c"}], None),
        ([{"memberNumber": "1", "institutionCustomerId": "ä"}], None),
        ([{"memberNumber": "1", "institutionCustomerId": "x" * 201}], None),
        ([{"memberNumber": None, "institutionCustomerId": "7"}, "x", None, []], None),
        ({"memberNumber": "1", "institutionCustomerId": "7"}, None),
        ("1", None),
        (None, None),
    ],
)
def test_customer_in_document(customers: object, expected: str | None) -> None:
    """The customer's id is returned if it may occur in a header."""
    assert customer_in({"institutionCustomers": customers}, "1") == expected
    assert customer_in({}, "1") is None


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(st.sampled_from(["memberNumber", "institutionCustomerId"]), inner)
        ),
    )
)
def test_any_document_is_parsed_safely(customers: Any) -> None:
    """The result is None or an id of visible ASCII."""
    document = json.loads(json.dumps({"institutionCustomers": customers}))
    found = customer_in(document, "1")
    assert found is None or (found.isascii() and found.isprintable() and " " not in found)


@pytest.fixture
async def users() -> AsyncIterator[tuple[UserContextInjector, DirectoryHarness]]:
    """Users of two institutions, one of them a business."""
    paths = HeaderPaths((Pattern.parse("/alert-history/**"),))
    async with directory_harness() as there:
        contexts = {"00016": BAKERY, "00017": UserContext(host_user_id="880018")}
        yield UserContextInjector(contexts, paths, there.directory), there


async def test_users_are_selected_by_institution(
    users: tuple[UserContextInjector, DirectoryHarness],
) -> None:
    """Each institution has its own user; one without a context, and V1, have none."""
    people, there = users
    named = {
        key: await people.inject("GET", b"/a", b"/a", key, has_customer=False)
        for key in (KEY, *(TokenKey(TokenKind.V2, name) for name in ("00017", "00018")))
    }
    assert list(named.values()) == [
        (b"/a?loginId=acorn.owner&institutionCustomerId=770001", None),
        (b"/a?hostUserId=880018", None),
        (b"/a", None),
    ]
    v1 = TokenKey(TokenKind.V1, "00016")
    assert await people.inject("GET", b"/a", b"/a", v1, has_customer=False) == (b"/a", None)
    assert len(there.look_ups) == 1


async def test_customer_header_is_used_on_some_paths(
    users: tuple[UserContextInjector, DirectoryHarness],
) -> None:
    """The path without the base path decides; the target keeps its base path."""
    people, _ = users
    own = b"/alert-history/v1/x"
    named = await people.inject("GET", b"/base" + own, own, KEY, has_customer=False)
    assert named == (b"/base/alert-history/v1/x?loginId=acorn.owner", b"770001")


@pytest.mark.parametrize(
    ("target", "has_customer", "expected"),
    [
        (b"/a", True, b"/a?loginId=acorn.owner"),
        (b"/a?institutionCustomerId=9", False, b"/a?institutionCustomerId=9&loginId=acorn.owner"),
        (b"/a?loginId=other", False, b"/a?loginId=other"),
    ],
)
async def test_explicit_customer_needs_no_look_up(
    users: tuple[UserContextInjector, DirectoryHarness],
    target: bytes,
    has_customer: bool,
    expected: bytes,
) -> None:
    """A customer or user that the caller names in query or header causes no call."""
    people, there = users
    named = await people.inject("GET", target, b"/a", KEY, has_customer=has_customer)
    assert named == (expected, None)
    assert there.look_ups == []
