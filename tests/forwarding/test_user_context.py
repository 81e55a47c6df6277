"""User context: adding the user to a call that names none."""

from urllib.parse import parse_qsl, unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.forwarding.patterns import Pattern
from proxy.forwarding.user_context import (
    HeaderPaths,
    UserContext,
    names_customer,
    query_names,
    with_query,
)

RETAIL = UserContext(host_user_id="880017")
BUSINESS = UserContext(login_id="acorn.owner", member_number="12-3456789")
KNOWN = UserContext(login_id="acorn.owner", customer_id="770001")
CONTEXTS = st.sampled_from([RETAIL, BUSINESS, KNOWN, UserContext(login_id="a b&c=ä/?#")])
QUERIES = st.text(st.sampled_from("abA=&;?%+/loginIdhostUserId12"), max_size=40).map(str.encode)


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (b"/v1/accounts", b"/v1/accounts?hostUserId=880017"),
        (b"/v1/accounts?", b"/v1/accounts?hostUserId=880017"),
        (b"/v1/accounts?a=%zz;b=1", b"/v1/accounts?a=%zz;b=1&hostUserId=880017"),
        (b"/v1/accounts?a=1&", b"/v1/accounts?a=1&hostUserId=880017"),
        (b"/v1/accounts?q=?x", b"/v1/accounts?q=?x&hostUserId=880017"),
        (b"/v1/a?user=loginId", b"/v1/a?user=loginId&hostUserId=880017"),
        (b"/v1/customers/7:accounts", b"/v1/customers/7:accounts?hostUserId=880017"),
    ],
)
def test_user_is_appended_to_the_query(target: bytes, expected: bytes) -> None:
    """The caller's query stays byte for byte."""
    assert RETAIL.add_to(target, "", in_header=False) == (expected, None)


@pytest.mark.parametrize(
    "target",
    [
        b"/v1/accounts?hostUserId=1",
        b"/v1/accounts?hostUserId=",
        b"/v1/accounts?hostUserId",
        b"/v1/accounts?loginId=x",
        b"/v1/accounts?LOGINID=x",
        b"/v1/accounts?a=1;loginId=x",
        b"/v1/accounts?login%49d=x",
        b"/v1/accounts?a=1&&hostuserid=x",
        b"/db-users/v1/institution-users/someone?userIdType=LOGIN_ID",
        b"/db-users/v1/institution%2Dusers/someone",
        b"/v1/customers/7",
        b"/v1/customers/7/contact-methods",
        b"/v1/user-status/7?userIdType=LOGIN_ID",
        b"/mx/7/users/8",
    ],
)
@pytest.mark.parametrize("context", [RETAIL, KNOWN], ids=["retail", "business"])
def test_named_user_is_kept(context: UserContext, target: bytes) -> None:
    """A call that names a user in path or query, in any spelling, is unchanged."""
    assert context.add_to(target, "770001", in_header=True) == (target, None)
    assert not context.applies_to(target)


def test_business_user_in_the_query() -> None:
    """Login and customer id are both appended."""
    named = KNOWN.add_to(b"/v1/accounts?x=1", "770001", in_header=False)
    target = b"/v1/accounts?x=1&loginId=acorn.owner&institutionCustomerId=770001"
    assert named == (target, None)


def test_business_user_in_a_header() -> None:
    """On some paths the customer id goes into a header."""
    named = KNOWN.add_to(b"/alert-history/x", "770001", in_header=True)
    assert named == (b"/alert-history/x?loginId=acorn.owner", b"770001")


@pytest.mark.parametrize(
    "query",
    [
        b"institutionCustomerId=9",
        b"INSTITUTIONCUSTOMERID",
        b"a;institutionCustomer%49d=9",
        b"$apply=groupBy(customer)&$skipGroups=0&$topGroups=1",
        b"%24apply=x",
    ],
)
@pytest.mark.parametrize("in_header", [True, False])
def test_named_customer_is_kept(query: bytes, in_header: bool) -> None:
    """The caller's customer is never duplicated, as parameter or header."""
    target = b"/v1/accounts?" + query
    named = KNOWN.add_to(target, "770001", in_header=in_header)
    assert named == (target + b"&loginId=acorn.owner", None)
    assert names_customer(target)
    assert not names_customer(b"/v1/accounts?loginId=institutionCustomerId")


def test_customer_without_user() -> None:
    """A context may have a customer id only."""
    context = UserContext(customer_id="770001")
    assert context.add_to(b"/a", "770001", in_header=False) == (
        b"/a?institutionCustomerId=770001",
        None,
    )


def test_properties_of_a_context() -> None:
    """It is empty without ids, and needs a look-up with a member number only."""
    assert UserContext().is_empty
    assert UserContext().add_to(b"/a", "", in_header=False) == (b"/a", None)
    assert not any(context.is_empty for context in (RETAIL, BUSINESS, KNOWN))
    assert [context.needs_lookup for context in (RETAIL, BUSINESS, KNOWN)] == [False, True, False]


@given(CONTEXTS, QUERIES, st.booleans())
def test_exactly_one_user_results(context: UserContext, query: bytes, in_header: bool) -> None:
    """Any query is kept, and exactly one user is named."""
    target = b"/v1/accounts?" + query
    named, header = context.add_to(target, "770001", in_header=in_header)
    assert named.startswith(target)
    added = named[len(target) :].lstrip(b"&")
    names = [name for name, _ in parse_qsl(added.decode(), keep_blank_values=True)]
    users = [name for name in names if name in ("hostUserId", "loginId")]
    before = query_names(b"?" + query) & {"hostuserid", "loginid"}
    assert len(users) == (0 if before else 1)
    assert names.count("institutionCustomerId") + (header is not None) <= 1


@given(st.text(min_size=1))
def test_any_id_is_encoded(text: str) -> None:
    """An id of any characters is one parameter with that value."""
    try:
        raw = text.encode()
    except UnicodeEncodeError:
        return
    target = with_query(b"/a", [(b"loginId", text)])
    name, _, value = target.partition(b"?")[2].partition(b"=")
    assert name == b"loginId"
    assert target.isascii()
    assert not set(value) & set(b"&;=?#+ \r\n")
    assert unquote(value.decode(), errors="strict").encode() == raw


def test_header_paths() -> None:
    """The header is used on the configured paths only."""
    paths = HeaderPaths(
        (Pattern.parse("/alert-history/**"), Pattern.parse("/x", frozenset({"GET"})))
    )
    assert paths.match("POST", b"/alert-history/v1/a")
    assert paths.match("GET", b"/%78")
    assert not paths.match("POST", b"/x")
    assert not paths.match("GET", b"/v1/accounts")
