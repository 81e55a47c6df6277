"""The verdict: one sentence, the worst there is to say, with its cause and what to do."""

from typing import Any

import pytest

from proxy.admin.document import Failure, HealthSummary, Minute, TokenState
from proxy.admin.health_summary import HealthInput, duration, summarize
from proxy.tokens.token import TokenKind

FAILURE = Failure(reason="token-server", detail="The bank failed.", advice="Wait.", code=None)


def token(state: str, institution: str = "00016", pinned: bool = True, **more: Any) -> TokenState:
    """Return a token in this state."""
    known = {
        "kind": TokenKind.V2,
        "refreshing": False,
        "issued_at": None,
        "lifetime": None,
        "expires_at": None,
        "refresh_at": None,
        "runway": 0.0 if state in ("missing", "pending") else 750.0,
        "failures": 0,
        "failure": FAILURE if state in ("missing", "failing") else None,
    }
    return TokenState.model_validate(
        {"state": state, "institution": institution, "pinned": pinned} | known | more
    )


def minute(requests: int = 100, **failed: int) -> Minute:
    """Return a minute with so many requests."""
    known: dict[str, Any] = dict.fromkeys(("caller", "token", "upstream", "proxy", "bank"), 0)
    known |= dict.fromkeys(("p50_ms", "p99_ms", "proxy_p50_ms", "proxy_p99_ms"))
    return Minute.model_validate(
        {"seconds": 60.0, "requests": requests, "per_second": requests / 60, **known, **failed}
    )


def said(*tokens: TokenState, of: Minute | None = None, **more: Any) -> HealthSummary:
    """Return the verdict on a scene."""
    known: dict[str, Any] = {"draining": False, "reload_failure": ""} | more
    return summarize(HealthInput(tokens=tokens, minute=of or minute(), **known))


def test_all_is_well() -> None:
    """Fresh tokens and answered requests are nothing to worry about."""
    assert said(token("fresh")) == HealthSummary(
        state="ok",
        sentence="Working: tokens are fresh and the bank responds.",
        cause="",
        advice="",
    )


def test_nobody_calls() -> None:
    """Without requests it cannot be said whether the bank answers them."""
    assert said(token("fresh"), of=minute(0)).sentence.startswith("Ready: tokens are fresh.")


def test_no_token_that_must_be_there() -> None:
    """Requests fail, and the token's error says why and what to do."""
    found = said(token("fresh", "00017"), token("missing"))
    assert found.state == "failing"
    assert found.sentence == "Requests fail: there is no V2 token for institution 00016."
    assert (found.cause, found.advice) == ("The bank failed.", "Wait.")


def test_first_token_is_on_its_way() -> None:
    """That is no failure yet."""
    found = said(token("pending"))
    assert (found.state, found.cause) == ("starting", "")
    assert "V2 token for institution 00016" in found.sentence


def test_other_institution_without_a_token() -> None:
    """One that only some callers ask for is a warning."""
    found = said(token("fresh"), token("missing", "00017", pinned=False))
    assert found.state == "warning"
    assert found.sentence.startswith("Working, except for institution 00017")


def test_other_institutions_first_token() -> None:
    """While it is on its way there is nothing to say."""
    assert said(token("fresh"), token("pending", "00017", pinned=False)).state == "ok"


def test_token_that_cannot_be_renewed() -> None:
    """The shortest runway is told, before anything fails."""
    found = said(token("failing", runway=750.0), token("failing", "00017", runway=4000.0))
    assert found.state == "warning"
    assert "requests fail in 12 min unless a refresh succeeds" in found.sentence
    assert found.cause == "The bank failed."


@pytest.mark.parametrize(
    ("failed", "state"),
    [
        ({"upstream": 4}, "ok"),
        ({"upstream": 5}, "warning"),
        ({"bank": 5}, "warning"),
        ({"proxy": 5}, "warning"),
        ({"token": 5}, "warning"),
        ({"caller": 90}, "ok"),
        ({"upstream": 50}, "failing"),
        ({"bank": 99}, "failing"),
    ],
)
def test_share_of_requests_that_fail(failed: dict[str, int], state: str) -> None:
    """Some are a warning, half of them are a failure; what callers do wrong is theirs."""
    found = said(token("fresh"), of=minute(**failed))
    assert found.state == state


def test_two_requests_are_no_state_of_things() -> None:
    """One call that failed out of one is not yet worth a word."""
    assert said(token("fresh"), of=minute(2, upstream=2)).state == "ok"


def test_last_error_is_the_cause() -> None:
    """The last error of whoever is at fault stands beside the numbers, with what to do."""
    causes = {
        "bank": ("The bank responded 503.", "Look at its status page."),
        "upstream": ("The name does not resolve.", "Check DNS."),
    }
    found = said(token("fresh"), of=minute(upstream=60, bank=2), causes=causes)
    assert (
        found.sentence == "Requests fail: the bank did not respond to 60 of 100 in the last minute."
    )
    assert found.cause == "The name does not resolve."
    assert "DNS" in found.advice


def test_configuration_that_was_not_taken() -> None:
    """The old one serves; what is wrong with the new one is told."""
    found = said(token("fresh"), reload_failure="listen: changed")
    assert (found.state, found.cause) == ("warning", "listen: changed")
    assert "check-config" in found.advice


def test_shutting_down_goes_before_all() -> None:
    """Whatever else is wrong, it is about to end."""
    assert said(token("missing"), draining=True).state == "stopping"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        *((-3, "0 s"), (0.9, "0 s"), (119, "119 s"), (120, "2 min"), (3599, "59 min")),
        *((3600, "1 h"), (3660, "1 h 1 min"), (86_400, "24 h"), (172_800, "2 days")),
    ],
)
def test_duration(seconds: float, text: str) -> None:
    """Times are told in one unit or two."""
    assert duration(seconds) == text
