"""The health summary: the most severe statement, with cause and remedy."""

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


def summary(*tokens: TokenState, of: Minute | None = None, **more: Any) -> HealthSummary:
    """Return the summary of a status."""
    known: dict[str, Any] = {"draining": False, "reload_failure": ""} | more
    return summarize(HealthInput(tokens=tokens, minute=of or minute(), **known))


def test_healthy() -> None:
    """Fresh tokens and successful requests."""
    assert summary(token("fresh")) == HealthSummary(
        state="ok",
        sentence="Working: tokens are fresh and the bank responds.",
        cause="",
        advice="",
    )


def test_no_requests() -> None:
    """Nothing is known of the bank."""
    assert summary(token("fresh"), of=minute(0)).sentence.startswith("Ready: tokens are fresh.")


def test_missing_required_token_is_a_failure() -> None:
    """With cause and remedy of its error."""
    found = summary(token("fresh", "00017"), token("missing"))
    assert found.state == "failing"
    assert found.sentence == "Requests fail: there is no V2 token for institution 00016."
    assert (found.cause, found.advice) == ("The bank failed.", "Wait.")


def test_first_token_in_flight_is_no_failure() -> None:
    """The proxy is starting."""
    found = summary(token("pending"))
    assert (found.state, found.cause) == ("starting", "")
    assert "V2 token for institution 00016" in found.sentence


def test_missing_optional_token_is_a_warning() -> None:
    """Of an institution of some callers."""
    found = summary(token("fresh"), token("missing", "00017", pinned=False))
    assert found.state == "warning"
    assert found.sentence.startswith("Working, except for institution 00017")


def test_optional_first_token_in_flight() -> None:
    """It is healthy."""
    assert summary(token("fresh"), token("pending", "00017", pinned=False)).state == "ok"


def test_failing_refresh_is_a_warning() -> None:
    """With the shortest remaining lifetime."""
    found = summary(token("failing", runway=750.0), token("failing", "00017", runway=4000.0))
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
def test_share_of_failed_requests(failed: dict[str, int], state: str) -> None:
    """Some are a warning, half a failure; callers' errors do not count."""
    found = summary(token("fresh"), of=minute(**failed))
    assert found.state == state


def test_two_requests_are_too_few() -> None:
    """One failure of one request is not reported."""
    assert summary(token("fresh"), of=minute(2, upstream=2)).state == "ok"


def test_last_error_is_the_cause() -> None:
    """Of the source at fault, with its remedy."""
    causes = {
        "bank": ("The bank responded 503.", "Look at its status page."),
        "upstream": ("The name does not resolve.", "Check DNS."),
    }
    found = summary(token("fresh"), of=minute(upstream=60, bank=2), causes=causes)
    assert (
        found.sentence == "Requests fail: the bank did not respond to 60 of 100 in the last minute."
    )
    assert found.cause == "The name does not resolve."
    assert "DNS" in found.advice


def test_failed_reload_is_a_warning() -> None:
    """With its error."""
    found = summary(token("fresh"), reload_failure="listen: changed")
    assert (found.state, found.cause) == ("warning", "listen: changed")
    assert "check-config" in found.advice


def test_shutdown_has_precedence() -> None:
    """Over all other states."""
    assert summary(token("missing"), draining=True).state == "stopping"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        *((-3, "0 s"), (0.9, "0 s"), (119, "119 s"), (120, "2 min"), (3599, "59 min")),
        *((3600, "1 h"), (3660, "1 h 1 min"), (86_400, "24 h"), (172_800, "2 days")),
    ],
)
def test_duration(seconds: float, text: str) -> None:
    """In one or two units."""
    assert duration(seconds) == text
