"""The checks of the soak test find violations."""

import pytest

from proxy.sandbox import Arrival, Bank, IssuedToken, Settings
from tests.soak.arrivals import LATE, JudgedArrivals
from tests.soak.fault_schedule import FaultSchedule
from tests.soak.promises import ALWAYS, FaultCause, RequestOutcome, allowed

NOW = 1_000.0


def test_without_faults_everything_must_succeed() -> None:
    """No error of proxy or bank is permitted."""
    assert {result for result in RequestOutcome if allowed(result, frozenset())} == ALWAYS


@pytest.mark.parametrize("result", [RequestOutcome.WRONG, RequestOutcome.LOST, RequestOutcome.HUNG])
def test_some_outcomes_are_never_permitted(result: RequestOutcome) -> None:
    """A wrong or endless response, or none."""
    assert not allowed(result, frozenset(FaultCause))


def test_fault_permits_its_own_outcomes_only() -> None:
    """A failing token endpoint does not truncate a response."""
    assert allowed(RequestOutcome.TOKEN, frozenset({FaultCause.TOKENS}))
    assert not allowed(RequestOutcome.ABORTED, frozenset({FaultCause.TOKENS}))
    assert not allowed(RequestOutcome.UPSTREAM, frozenset({FaultCause.REVOKED}))


def test_fault_ends_after_a_while() -> None:
    """It affects overlapping requests, and those shortly after."""
    now = 0.0
    schedule = FaultSchedule(lambda: now)
    now = 10.0
    with schedule.period(FaultCause.BANK, "bank resets"):
        now = 12.0
    assert schedule.causes(9.0, 9.9) == frozenset()
    assert schedule.causes(9.0, 10.1) == {FaultCause.BANK}
    assert schedule.causes(12.9, 13.0) == {FaultCause.BANK}
    assert schedule.causes(13.1, 13.2) == frozenset()
    assert "bank resets" in schedule.describe(12.0, 12.5)


def judged_arrivals(**token: object) -> tuple[JudgedArrivals, str]:
    """The list of arrivals, and a token of its bank for 00016."""
    bank = Bank(Settings(), clock=lambda: NOW)
    draft = IssuedToken("V2", "sandbox-client", "00016", "client_credentials")
    issued = bank.issue(draft, 3.0)
    for name, value in token.items():
        setattr(issued, name, value)
    return JudgedArrivals(bank, lambda: 0.0), issued.text


def arrival(text: str, target: str = "/at/00016/echo", method: str = "GET", **more: str) -> Arrival:
    """Return a request with a token."""
    headers = [(b"Authorization", f"Bearer {text}".encode()), (b"transactionId", b"t")]
    headers += [(name.encode(), value.encode()) for name, value in more.items()]
    return Arrival(NOW, method, target, headers)


def test_good_arrivals_are_accepted() -> None:
    """A live token of the right institution."""
    outcomes, text = judged_arrivals()
    for _ in range(2):
        outcomes.append(arrival(text))
    outcomes.append(arrival(text, method="POST"))
    assert outcomes.broken == {}
    assert (outcomes.arrivals, outcomes.unsafe) == (3, 1)


@pytest.mark.parametrize(
    ("token", "target", "complaint"),
    [
        ({}, "/at/00017/echo", "a token of another institution was sent"),
        (
            {"institution": "00017"},
            "/at/00017/echo",
            "a token of another user was sent",
        ),
        ({}, "/x/v1/fis/00016/echo", "a token of another kind was sent"),
        ({"refresh": True}, "/at/00016/echo", "a token of another kind was sent"),
    ],
)
def test_wrong_tokens_are_found(token: dict[str, object], target: str, complaint: str) -> None:
    """Of another bank, user or kind."""
    outcomes, text = judged_arrivals(**token)
    outcomes.append(arrival(text, target))
    assert outcomes.broken == {complaint: 1}


def test_expired_tokens_are_found() -> None:
    """By the time of sending, whatever the delay."""
    outcomes, text = judged_arrivals()
    request = f"GET / HTTP/1.1\r\nAuthorization: Bearer {text}\r\nHost: x\r\n\r\n".encode()
    token = outcomes._bank.tokens[text]
    for over in (-3.0, 0.0, LATE / 2):
        token.expires_at = NOW - over
        outcomes.hear(request)
    assert (outcomes.sent, outcomes.broken) == (3, {})
    assert outcomes.latest == pytest.approx(LATE / 2)
    token.expires_at = NOW - LATE - 0.01
    outcomes.hear(request)
    assert outcomes.broken == {"an expired token was sent": 1}


def test_foreign_and_repeated_tokens_are_found() -> None:
    """The caller's own, or two."""
    outcomes, text = judged_arrivals()
    outcomes.append(arrival("stolen"))
    outcomes.append(arrival(text, authorization="Bearer other"))
    assert outcomes.broken == {"a token that is none of this bank's, or not exactly one": 2}


def test_repeated_unsafe_request_is_found() -> None:
    """The same transaction twice, unless it is safe."""
    outcomes, text = judged_arrivals()
    for _ in range(2):
        outcomes.append(arrival(text, method="POST"))
    assert outcomes.broken == {"an unsafe request arrived twice": 1}
