"""One bearer, given by hand."""

import json

from proxy.tokens.refresh_policy import RefreshPolicy
from proxy.tokens.static import LIFETIME, StaticTokenSource, without_rejection
from proxy.tokens.token import Instant, TokenKey, TokenKind

NOW = Instant(100.0, 1_800_000_000.0)
YEARS = Instant(1_000_000_000.0, 2_800_000_000.0)


async def test_same_bearer_for_every_key() -> None:
    """Whatever the institution and the kind, it is the one that was given."""
    source = StaticTokenSource("by-hand", lambda: NOW)
    for kind in TokenKind:
        token = await source.token(TokenKey(kind, "00016"))
        assert token.authorization == b"Bearer by-hand"
        assert token.key.kind is kind


async def test_it_is_never_due_and_never_dies() -> None:
    """No refresh is ever due, whatever the policy, and its end is a number that JSON knows."""
    token = await StaticTokenSource("by-hand", lambda: NOW).token(TokenKey(TokenKind.V2, "00016"))
    assert token.is_alive(YEARS)
    assert json.loads(json.dumps([token.lifetime, token.expires_at])) == [
        LIFETIME,
        token.expires_at,
    ]
    for policy in (RefreshPolicy(), RefreshPolicy(margin_fraction=0.0, jitter_fraction=0.0)):
        assert policy.refresh_age(token.lifetime, 0.9) > LIFETIME / 2


async def test_it_is_kept_when_the_bank_refuses_it() -> None:
    """There is no other to be had, so a refusal drops nothing and nothing is sent twice."""
    token = await StaticTokenSource("by-hand", lambda: NOW).token(TokenKey(TokenKind.V2, "00016"))
    assert RefreshPolicy().may_reject(token, YEARS)
    assert not without_rejection(RefreshPolicy()).may_reject(token, YEARS)
