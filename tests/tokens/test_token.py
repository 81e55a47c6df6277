"""What a token is at a moment: for every lifetime."""

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
    """Return a token issued at that moment."""
    return Token(KEY, "gBOL-secret", issued, lifetime)


def later(moment: Instant, seconds: float, step: float = 0.0) -> Instant:
    """Return the moment ``seconds`` on, the wall clock stepped besides."""
    return Instant(moment.monotonic + seconds, moment.wall + seconds + step)


@given(lifetimes, st.floats(0, 2 * MAX_LIFETIME))
def test_token_lives_as_long_as_it_was_given(lifetime: float, age: float) -> None:
    """Alive, what remains, and the moment of death say the same."""
    seen = token(lifetime)
    now = later(NOW, age)
    assert seen.is_alive(now) == (seen.remaining(now) > 0)
    assert seen.remaining(now) == pytest.approx(lifetime - age, abs=1e-3)
    assert seen.expires_at == NOW.wall + lifetime


@given(st.floats(0, 1e6), steps)
def test_stepped_clock_never_makes_a_token_younger(age: float, step: float) -> None:
    """However the wall clock is set, a token is at least as old as the monotonic clock says."""
    now = later(NOW, age, step)
    assert now.since(NOW) >= age - ROUNDING
    assert not (token(3600).is_alive(now) and age > 3600 + ROUNDING)


@given(st.floats(0, 1e6), st.floats(0, 1e6))
def test_sleep_counts_as_age(awake: float, asleep: float) -> None:
    """A machine whose monotonic clock stood while it slept believes the wall clock."""
    now = later(NOW, awake, step=asleep)
    assert now.since(NOW) == pytest.approx(awake + asleep, abs=1e-3)


@given(st.sampled_from(TokenKind), st.from_regex(r"[0-9]{1,20}", fullmatch=True))
def test_key_reads_what_it_wrote(kind: TokenKind, institution: str) -> None:
    """A key as one word, such as a store has it, is the same key when it is read."""
    key = TokenKey(kind, institution)
    assert TokenKey.parse(str(key)) == key
    assert str(TokenKey(TokenKind.V1, "00016")) == "v1:00016"


@pytest.mark.parametrize("text", ["", "v3:00016", "00016", ":00016"])
def test_key_that_is_none(text: str) -> None:
    """A word of another kind is no key."""
    with pytest.raises(ValueError, match="not a valid TokenKind"):
        TokenKey.parse(text)


@given(steps, steps)
def test_time_never_runs_backwards(monotonic: float, wall: float) -> None:
    """Seconds that have passed are never fewer than none."""
    assert Instant(monotonic, wall).since(Instant(0, 0)) == max(monotonic, wall, 0)


def test_token_shows_no_secret() -> None:
    """Neither the repr nor the text of a token holds it."""
    assert "gBOL" not in f"{token()!r} {token()}"
    assert token().authorization == b"Bearer gBOL-secret"


def test_tokens_are_compared_by_identity() -> None:
    """The same text twice is two tokens, so that a late refusal means only its own."""
    first, second = token(), token()
    assert first == first  # noqa: PLR0124 - that is the question
    assert first != second
