"""The static token source."""

import json

from proxy.tokens.refresh_policy import RefreshPolicy
from proxy.tokens.static import LIFETIME, StaticTokenSource
from proxy.tokens.token import Instant, TokenKey, TokenKind

NOW = Instant(100.0, 1_800_000_000.0)
YEARS = Instant(1_000_000_000.0, 2_800_000_000.0)


async def test_same_token_for_every_key() -> None:
    """For any institution and kind."""
    source = StaticTokenSource("by-hand", lambda: NOW)
    for kind in TokenKind:
        token = await source.token(TokenKey(kind, "00016"))
        assert token.authorization == b"Bearer by-hand"
        assert token.key.kind is kind


async def test_token_is_never_due_and_never_expires() -> None:
    """Its expiry is a number that JSON supports."""
    token = await StaticTokenSource("by-hand", lambda: NOW).token(TokenKey(TokenKind.V2, "00016"))
    assert token.is_alive(YEARS)
    assert json.loads(json.dumps([token.lifetime, token.expires_at])) == [
        LIFETIME,
        token.expires_at,
    ]
    for policy in (RefreshPolicy(), RefreshPolicy(margin_fraction=0.0, jitter_fraction=0.0)):
        assert policy.refresh_age(token.lifetime, 0.9) > LIFETIME / 2
