"""Readiness from the state of the tokens."""

import asyncio
from typing import Any

import pytest

from proxy.admin.health import Condition
from proxy.admin.readiness import Readiness, assess, document, warnings
from proxy.errors import TokenError, kinds
from proxy.tokens.cache import Entry
from proxy.tokens.held import HeldTokens
from proxy.tokens.token import Instant, Token, TokenKey, TokenKind

NOW = Instant(10_000.0, 1_800_000_000.0)
KEY = TokenKey(TokenKind.V2, "00016")
RELOAD = Condition(
    *("warning", "Working with the previous configuration.", "reload-failed"),
    *("listen: changed", "Correct it."),
)


def entry(age: float | None = 0.0, *, key: TokenKey = KEY, **known: Any) -> Entry:
    """Return a pinned key with a token of this age (lifetime one hour), or without one."""
    if age is not None:
        issued = Instant(NOW.monotonic - age, NOW.wall - age)
        known["held"] = HeldTokens(Token(key, "gBOL-secret", issued, 3600))
    return Entry(key, 0.0, **{"pinned": True, **known})


def test_live_token_is_ready() -> None:
    """For every pinned key."""
    state = assess([entry(), entry(3599, key=TokenKey(TokenKind.V1, "00016"))], NOW, draining=False)
    assert state.is_ready
    assert state.reasons == []


def test_first_token_in_flight_is_the_reason() -> None:
    """Until it is there."""
    state = assess([entry(None)], NOW, draining=False)
    assert state.reasons == ["no v2 token for institution 00016: the first one is being fetched"]


@pytest.mark.parametrize("age", [None, 3600, 10_000])
def test_failure_is_the_reason(age: float | None) -> None:
    """With the remedy."""
    error = TokenError(kinds.TOKEN_BAD_CLIENT, "The bank refused the client id; check it.")
    (reason,) = assess([entry(age, error=error)], NOW, draining=False).reasons
    why = "The bank refused the client id; check it."
    assert reason == (f"no v2 token for institution 00016: {why} {kinds.TOKEN_BAD_CLIENT.remedy}")


def test_failing_refresh_of_a_live_token_is_ready() -> None:
    """Requests are served."""
    error = TokenError(kinds.TOKEN_SERVER, "The bank failed.")
    assert assess([entry(3599, error=error, failures=9)], NOW, draining=False).is_ready


def test_unpinned_key_does_not_matter() -> None:
    """As of an institution of some callers."""
    error = TokenError(kinds.TOKEN_BAD_INSTITUTION, "Refused.")
    assert assess([entry(), entry(None, pinned=False, error=error)], NOW, draining=False).is_ready


def test_every_reason_is_listed() -> None:
    """Shutdown and two missing tokens are three."""
    keys = [KEY, TokenKey(TokenKind.V1, "00017")]
    state = assess([entry(None, key=key) for key in keys], NOW, draining=True)
    assert not state.is_ready
    assert state.reasons[0] == "shutting down"
    assert [reason.split(":")[0] for reason in state.reasons[1:]] == [
        "no v2 token for institution 00016",
        "no v1 token for institution 00017",
    ]


def test_draining_is_not_ready() -> None:
    """Whatever the tokens."""
    assert not assess([entry()], NOW, draining=True).is_ready


def test_failed_reload_is_a_warning() -> None:
    """The proxy is ready with its old configuration."""
    state, condition = assess([entry()], NOW, draining=False), RELOAD
    assert document(state, [condition]) == {
        "status": "ready",
        "reasons": [],
        "health": {
            "state": "warning",
            "reason": "reload-failed",
            "sentence": "Working with the previous configuration.",
            "cause": "listen: changed",
            "advice": "Correct it.",
        },
        "warnings": ["Working with the previous configuration. listen: changed Correct it."],
    }


def test_health_without_a_problem_is_no_warning() -> None:
    """There is nothing to do."""
    assert warnings(Readiness(), [Condition("ok", "Working.")]) == []


def test_reason_is_not_repeated_as_a_warning() -> None:
    """The condition of a missing token explains the same."""
    state = assess(
        [entry(None, error=TokenError(kinds.TOKEN_SERVER, "Failed."))], NOW, draining=False
    )
    missing = Condition("failing", "Requests fail.", "token-server", "Failed.", "Wait.")
    assert warnings(state, [missing, RELOAD]) == warnings(state, [RELOAD]) != []


def test_reasons_show_no_secret() -> None:
    """No token text."""
    assert "gBOL" not in repr(assess([entry(9999)], NOW, draining=True))


def test_without_pinned_keys_it_is_ready() -> None:
    """There is nothing to wait for."""
    assert assess([], NOW, draining=False) == Readiness()


async def test_turn_of_a_repeated_token_is_no_reason() -> None:
    """The next one is being fetched; once that has failed, it is."""
    expired = entry(3600, same_tokens=3)
    assert not assess([expired], NOW, draining=False).is_ready
    expired.fetch = asyncio.get_running_loop().create_future()  # type: ignore[assignment]  # no task is needed
    assert assess([expired], NOW, draining=False).is_ready
    expired.error = TokenError(kinds.TOKEN_SERVER)
    assert not assess([expired], NOW, draining=False).is_ready
