"""Token events: immutable values without token texts."""

import dataclasses

import pytest

from proxy.errors import TokenError, kinds
from proxy.tokens.events import (
    TokenRefreshed,
    TokenRefreshFailed,
    TokenRejected,
    TokenReleased,
    slow_token,
)
from proxy.tokens.token import Instant, Token, TokenKey, TokenKind

KEY = TokenKey(TokenKind.V2, "00016")
TOKEN = Token(KEY, "gBOL-secret", Instant(1, 1), 60)
FACTS = [
    TokenRefreshed(TOKEN, 0.1, 30),
    TokenRefreshFailed(KEY, TokenError(kinds.TOKEN_SERVER, "closed"), 0.1, 1, 2),
    TokenRejected(TOKEN, was_current=True),
    TokenReleased(KEY),
]


@pytest.mark.parametrize("event", FACTS, ids=lambda event: type(event).__name__)
def test_event_shows_no_token(event: object) -> None:
    """Its repr may reach a log."""
    assert "gBOL" not in f"{event!r} {event}"


@pytest.mark.parametrize("event", FACTS, ids=lambda event: type(event).__name__)
def test_event_is_immutable(event: object) -> None:
    """Assignment raises."""
    name = dataclasses.fields(event)[0].name  # type: ignore[arg-type]  # each is a dataclass
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(event, name, None)


def test_slow_token_in_words() -> None:
    """Both numbers."""
    assert slow_token(4.25, 3) == "a token call takes 4.2 s, and its token lives for 3 s."
