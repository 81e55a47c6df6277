"""Readiness: a yes, or a no with its reasons, out of what is known about the tokens."""

from typing import Any

import pytest

from proxy.admin.readiness import Readiness, assess
from proxy.errors import TokenError, kinds
from proxy.tokens.cache import Entry
from proxy.tokens.token import Instant, Token, TokenKey, TokenKind

NOW = Instant(10_000.0, 1_800_000_000.0)
KEY = TokenKey(TokenKind.V2, "00016")


def entry(age: float | None = 0.0, *, key: TokenKey = KEY, **known: Any) -> Entry:
    """Return a pinned key whose token of an hour is this old; None for no token yet."""
    if age is not None:
        issued = Instant(NOW.monotonic - age, NOW.wall - age)
        known["token"] = Token(key, "gBOL-secret", issued, 3600)
    return Entry(key, 0.0, **{"pinned": True, **known})


def test_live_token_is_ready() -> None:
    """With a live token for every pinned key there is no reason against it."""
    state = assess([entry(), entry(3599, key=TokenKey(TokenKind.V1, "00016"))], NOW, draining=False)
    assert state.is_ready
    assert state.reasons == []


def test_first_token_on_its_way() -> None:
    """Until the first token is there, that is the reason."""
    state = assess([entry(None)], NOW, draining=False)
    assert state.reasons == ["no v2 token for institution 00016: the first one is being fetched"]


@pytest.mark.parametrize("age", [None, 3600, 10_000])
def test_failure_is_the_reason(age: float | None) -> None:
    """Without a live token the last error says why, and what an operator can do."""
    error = TokenError(kinds.TOKEN_BAD_CLIENT, "The bank refused the client id; check it.")
    (reason,) = assess([entry(age, error=error)], NOW, draining=False).reasons
    why = "The bank refused the client id; check it."
    assert reason == (f"no v2 token for institution 00016: {why} {kinds.TOKEN_BAD_CLIENT.remedy}")


def test_failing_refresh_of_a_live_token_is_no_reason() -> None:
    """While the old token lives, requests are served, and so the proxy is ready."""
    error = TokenError(kinds.TOKEN_SERVER, "The bank failed.")
    assert assess([entry(3599, error=error, failures=9)], NOW, draining=False).is_ready


def test_unpinned_key_is_nobodys_business() -> None:
    """An institution that callers asked for and that fails makes nobody else unready."""
    error = TokenError(kinds.TOKEN_BAD_INSTITUTION, "Refused.")
    assert assess([entry(), entry(None, pinned=False, error=error)], NOW, draining=False).is_ready


def test_every_reason_is_told() -> None:
    """Shutting down and two missing tokens are three reasons."""
    keys = [KEY, TokenKey(TokenKind.V1, "00017")]
    state = assess([entry(None, key=key) for key in keys], NOW, draining=True)
    assert not state.is_ready
    assert state.reasons[0] == "shutting down"
    assert [reason.split(":")[0] for reason in state.reasons[1:]] == [
        "no v2 token for institution 00016",
        "no v1 token for institution 00017",
    ]


def test_draining_is_not_ready() -> None:
    """From the signal on nobody sends new work here, tokens or not."""
    assert not assess([entry()], NOW, draining=True).is_ready


def test_change_that_was_not_taken_is_a_warning() -> None:
    """The old configuration is in force and serves, so the proxy is ready, but says so."""
    state = assess([entry()], NOW, draining=False, reload_failure="listen: changed")
    assert state.is_ready
    assert state.warnings == ["configuration reload failed: listen: changed"]
    assert assess([entry()], NOW, draining=False).warnings == []


def test_no_secret_in_a_reason() -> None:
    """A dead token is not shown."""
    assert "gBOL" not in repr(assess([entry(9999)], NOW, draining=True))


def test_nothing_known_is_ready() -> None:
    """Without a key that must have a token there is nothing to wait for."""
    assert assess([], NOW, draining=False) == Readiness()
