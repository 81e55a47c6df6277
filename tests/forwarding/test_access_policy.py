"""Which resources callers may use."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.forwarding.access_policy import Policy, Verdict
from proxy.forwarding.patterns import Pattern

GET = frozenset({"GET"})
READ_ONLY = Policy(
    allow=(Pattern.parse("/v1/**", GET), Pattern.parse("/db-users/v1/**")),
    deny=(Pattern.parse("/v1/transfers/**"), Pattern.parse("/v1/*/secret")),
)


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", b"/v1/accounts", Verdict.ALLOWED),
        ("GET", b"/v1/accounts/", Verdict.ALLOWED),
        ("GET", b"/v1/%61ccounts", Verdict.ALLOWED),
        ("GET", b"/v1/customers/7:accounts", Verdict.ALLOWED),
        ("POST", b"/db-users/v1/x", Verdict.ALLOWED),
        ("POST", b"/v1/accounts", Verdict.REFUSED),
        ("GET", b"/v2/accounts", Verdict.REFUSED),
        ("GET", b"/V1/accounts", Verdict.REFUSED),
        ("GET", b"/v1/transfers", Verdict.REFUSED),
        ("GET", b"/v1/transfers/7", Verdict.REFUSED),
        ("GET", b"/v1/Transfers/7", Verdict.REFUSED),
        ("GET", b"/v1/tr%61nsfers", Verdict.REFUSED),
        ("GET", b"/v1/TR%41NSFERS", Verdict.REFUSED),
        ("GET", b"/v1/a/SECRET", Verdict.REFUSED),
        ("GET", b"/v1/a/secrets", Verdict.ALLOWED),
        ("GET", b"/v1/x/../accounts", Verdict.REFUSED),
        ("GET", b"/v1//accounts", Verdict.REFUSED),
        ("GET", b"/v1/accounts;x=1", Verdict.REFUSED),
        ("GET", b"/v1/accounts%2ftransfers", Verdict.REFUSED),
        ("GET", b"/v1/%2574ransfers", Verdict.REFUSED),
    ],
)
def test_verdicts(method: str, path: bytes, expected: Verdict) -> None:
    """Deny wins, allow bounds, and a path that two servers could read differently is refused."""
    assert READ_ONLY.judge(method, path) is expected


def test_deny_alone_allows_the_rest() -> None:
    """An empty allow list allows all that is not denied."""
    policy = Policy(deny=(Pattern.parse("/v1/transfers"),))
    assert policy.judge("GET", b"/anything") is Verdict.ALLOWED
    assert policy.judge("POST", b"/v1/transfers") is Verdict.REFUSED


def test_warning_refuses_nothing() -> None:
    """In warn mode what would be refused is told apart, and what is allowed stays allowed."""
    policy = Policy(READ_ONLY.allow, READ_ONLY.deny, enforce=False)
    assert policy.judge("GET", b"/v1/transfers") is Verdict.WARNED
    assert policy.judge("GET", b"/v1//x") is Verdict.WARNED
    assert policy.judge("GET", b"/v1/accounts") is Verdict.ALLOWED


@given(st.sampled_from(["GET", "POST"]), st.binary(max_size=40), st.booleans())
def test_empty_policy_allows_everything(method: str, path: bytes, enforce: bool) -> None:
    """Without lists paths are not looked at."""
    policy = Policy(enforce=enforce)
    assert policy.is_empty
    assert policy.judge(method, path) is Verdict.ALLOWED
    assert not READ_ONLY.is_empty


@given(
    st.lists(st.sampled_from([b"transfers", b"..", b".", b"", b"v1", b"%2e%2e", b"x"]), max_size=6)
)
def test_no_way_round_a_denied_resource(parts: list[bytes]) -> None:
    """A path that folds to a denied one is refused, however it gets there."""
    policy = Policy(deny=(Pattern.parse("/v1/transfers"),))
    folded: list[bytes] = []
    for part in parts:
        if part in (b"..", b"%2e%2e"):
            del folded[-1:]
        elif part not in (b"", b"."):
            folded.append(part)
    if folded == [b"v1", b"transfers"]:
        assert policy.judge("GET", b"/" + b"/".join(parts)) is Verdict.REFUSED
