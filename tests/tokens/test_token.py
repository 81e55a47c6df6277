"""Tokens at an instant, for every lifetime."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.tokens.token import MAX_LIFETIME, Instant, Token, TokenKey, TokenKind

KEY = TokenKey(TokenKind.V2, "00016")
NOW = Instant(1000.0, 1_800_000_000.0)
ROUNDING = 1e-6

lifetimes = st.floats(1, MAX_LIFETIME)
steps = st.floats(-1e6, 1e6)


def token(lifetime: float = 3600.0, issued: Instant = NOW) -> Token:
    """Return a token issued at ``issued``."""
    return Token(KEY, "gBOL-secret", issued, lifetime)


def later(moment: Instant, seconds: float, step: float = 0.0) -> Instant:
    """Return the instant ``seconds`` later, with the wall clock stepped."""
    return Instant(moment.monotonic + seconds, moment.wall + seconds + step)


@given(lifetimes, st.floats(0, 2 * MAX_LIFETIME))
def test_lifetime_is_consistent(lifetime: float, age: float) -> None:
    """Alive, remaining time and expiry agree."""
    seen = token(lifetime)
    now = later(NOW, age)
    assert seen.is_alive(now) == (seen.remaining(now) > 0)
    assert seen.remaining(now) == pytest.approx(lifetime - age, abs=1e-3)
    assert seen.expires_at == NOW.wall + lifetime


@given(st.floats(0, 1e6), steps)
def test_stepped_clock_makes_no_token_younger(age: float, step: float) -> None:
    """Its age is at least that of the monotonic clock."""
    now = later(NOW, age, step)
    assert now.since(NOW) >= age - ROUNDING
    assert not (token(3600).is_alive(now) and age > 3600 + ROUNDING)


@given(st.floats(0, 1e6), st.floats(0, 1e6))
def test_sleep_counts_as_age(awake: float, asleep: float) -> None:
    """If the monotonic clock stood still, the wall clock counts."""
    now = later(NOW, awake, step=asleep)
    assert now.since(NOW) == pytest.approx(awake + asleep, abs=1e-3)


@given(st.sampled_from(TokenKind), st.from_regex(r"[0-9]{1,20}", fullmatch=True))
def test_key_can_be_written_and_read(kind: TokenKind, institution: str) -> None:
    """As one word."""
    key = TokenKey(kind, institution)
    assert TokenKey.parse(str(key)) == key
    assert str(TokenKey(TokenKind.V1, "00016")) == "v1:00016"


@pytest.mark.parametrize("text", ["", "v3:00016", "00016", ":00016"])
def test_invalid_key_is_refused(text: str) -> None:
    """Other words are an error."""
    with pytest.raises(ValueError, match="not a valid TokenKind"):
        TokenKey.parse(text)


@given(steps, steps)
def test_elapsed_time_is_never_negative(monotonic: float, wall: float) -> None:
    """Whatever the clocks say."""
    assert Instant(monotonic, wall).since(Instant(0, 0)) == max(monotonic, wall, 0)


@pytest.mark.parametrize("origin", ["", "https://api.example.com/a"])
@pytest.mark.parametrize("subject", ["", "kiosk"])
def test_text_of_a_key_has_origin_and_subject(origin: str, subject: str) -> None:
    """It can be parsed."""
    key = TokenKey(TokenKind.V1, "00016", origin, subject)
    assert TokenKey.parse(key.text) == key
    assert key.text.startswith(str(key))


def test_token_shows_no_secret() -> None:
    """Neither in repr nor in str."""
    assert "gBOL" not in f"{token()!r} {token()}"
    assert token().authorization == b"Bearer gBOL-secret"


def test_tokens_are_compared_by_identity() -> None:
    """So a late refusal concerns its own token only."""
    first, second = token(), token()
    assert first == first  # noqa: PLR0124 - that is the question
    assert first != second
