"""Access policy: which resources callers may use."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.forwarding.access_policy import AccessPolicy, PolicyDecision
from proxy.forwarding.patterns import Pattern

GET = frozenset({"GET"})
READ_ONLY = AccessPolicy(
    allow=(Pattern.parse("/v1/**", GET), Pattern.parse("/db-users/v1/**")),
    deny=(Pattern.parse("/v1/transfers/**"), Pattern.parse("/v1/*/secret")),
)


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", b"/v1/accounts", PolicyDecision.ALLOWED),
        ("GET", b"/v1/accounts/", PolicyDecision.ALLOWED),
        ("GET", b"/v1/%61ccounts", PolicyDecision.ALLOWED),
        ("GET", b"/v1/customers/7:accounts", PolicyDecision.ALLOWED),
        ("POST", b"/db-users/v1/x", PolicyDecision.ALLOWED),
        ("POST", b"/v1/accounts", PolicyDecision.REFUSED),
        ("GET", b"/v2/accounts", PolicyDecision.REFUSED),
        ("GET", b"/V1/accounts", PolicyDecision.REFUSED),
        ("GET", b"/v1/transfers", PolicyDecision.REFUSED),
        ("GET", b"/v1/transfers/7", PolicyDecision.REFUSED),
        ("GET", b"/v1/Transfers/7", PolicyDecision.REFUSED),
        ("GET", b"/v1/tr%61nsfers", PolicyDecision.REFUSED),
        ("GET", b"/v1/TR%41NSFERS", PolicyDecision.REFUSED),
        ("GET", b"/v1/a/SECRET", PolicyDecision.REFUSED),
        ("GET", b"/v1/a/secrets", PolicyDecision.ALLOWED),
        ("GET", b"/v1/x/../accounts", PolicyDecision.REFUSED),
        ("GET", b"/v1//accounts", PolicyDecision.REFUSED),
        ("GET", b"/v1/accounts;x=1", PolicyDecision.REFUSED),
        ("GET", b"/v1/accounts%2ftransfers", PolicyDecision.REFUSED),
        ("GET", b"/v1/%2574ransfers", PolicyDecision.REFUSED),
        ("GET", b"/v1/transfers%3fx", PolicyDecision.REFUSED),
        ("GET", b"/v1/transfers%20", PolicyDecision.REFUSED),
        ("GET", b"/v1/accounts/..%20/transfers", PolicyDecision.REFUSED),
    ],
)
def test_decision_for_path(method: str, path: bytes, expected: PolicyDecision) -> None:
    """Deny wins, allow restricts, and an ambiguous path is refused."""
    assert READ_ONLY.evaluate(method, path) is expected


def test_deny_list_alone_allows_the_rest() -> None:
    """An empty allow list allows all that is not denied."""
    policy = AccessPolicy(deny=(Pattern.parse("/v1/transfers"),))
    assert policy.evaluate("GET", b"/anything") is PolicyDecision.ALLOWED
    assert policy.evaluate("POST", b"/v1/transfers") is PolicyDecision.REFUSED


def test_warn_mode_refuses_nothing() -> None:
    """Warn mode reports what enforcement would refuse, and nothing else."""
    policy = AccessPolicy(READ_ONLY.allow, READ_ONLY.deny, enforce=False)
    assert policy.evaluate("GET", b"/v1/transfers") is PolicyDecision.WARNED
    assert policy.evaluate("GET", b"/v1//x") is PolicyDecision.WARNED
    assert policy.evaluate("GET", b"/v1/accounts") is PolicyDecision.ALLOWED


@given(st.sampled_from(["GET", "POST"]), st.binary(max_size=40), st.booleans())
def test_empty_policy_allows_everything(method: str, path: bytes, enforce: bool) -> None:
    """Without lists every path is allowed."""
    policy = AccessPolicy(enforce=enforce)
    assert policy.is_empty
    assert policy.evaluate(method, path) is PolicyDecision.ALLOWED
    assert not READ_ONLY.is_empty


@given(
    st.lists(st.sampled_from([b"transfers", b"..", b".", b"", b"v1", b"%2e%2e", b"x"]), max_size=6)
)
def test_denied_resource_cannot_be_bypassed(parts: list[bytes]) -> None:
    """A path that normalizes to a denied one is refused."""
    policy = AccessPolicy(deny=(Pattern.parse("/v1/transfers"),))
    folded: list[bytes] = []
    for part in parts:
        if part in (b"..", b"%2e%2e"):
            del folded[-1:]
        elif part not in (b"", b"."):
            folded.append(part)
    if folded == [b"v1", b"transfers"]:
        assert policy.evaluate("GET", b"/" + b"/".join(parts)) is PolicyDecision.REFUSED
