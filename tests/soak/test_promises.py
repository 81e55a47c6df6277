"""What the soak itself decides by: it must be able to find a promise broken."""

import pytest

from proxy.sandbox import Arrival, Bank, IssuedToken, Settings
from tests.soak.arrivals import LATE, JudgedArrivals
from tests.soak.fault_schedule import FaultSchedule
from tests.soak.promises import ALWAYS, FaultCause, RequestOutcome, allowed

NOW = 1_000.0


def test_under_a_clear_sky_everything_must_go_well() -> None:
    """No error of the proxy's or the bank's is allowed where nothing was wrong."""
    assert {result for result in RequestOutcome if allowed(result, frozenset())} == ALWAYS


@pytest.mark.parametrize("result", [RequestOutcome.WRONG, RequestOutcome.LOST, RequestOutcome.HUNG])
def test_some_fates_are_never_allowed(result: RequestOutcome) -> None:
    """No weather explains a wrong answer, none at all, or one without an end."""
    assert not allowed(result, frozenset(FaultCause))


def test_weather_explains_its_own_kind_only() -> None:
    """A token endpoint that fails is no reason to cut an answer."""
    assert allowed(RequestOutcome.TOKEN, frozenset({FaultCause.TOKENS}))
    assert not allowed(RequestOutcome.ABORTED, frozenset({FaultCause.TOKENS}))
    assert not allowed(RequestOutcome.UPSTREAM, frozenset({FaultCause.REVOKED}))


def test_weather_is_over_after_a_while() -> None:
    """A spell touches what overlaps it, and what begins shortly after it."""
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
    """A ledger, and the text of a token that its bank has issued for 00016."""
    bank = Bank(Settings(), clock=lambda: NOW)
    draft = IssuedToken("V2", "sandbox-client", "00016", "client_credentials")
    issued = bank.issue(draft, 3.0)
    for name, value in token.items():
        setattr(issued, name, value)
    return JudgedArrivals(bank, lambda: 0.0), issued.text


def arrival(text: str, target: str = "/at/00016/echo", method: str = "GET", **more: str) -> Arrival:
    """A request with a token."""
    headers = [(b"Authorization", f"Bearer {text}".encode()), (b"transactionId", b"t")]
    headers += [(name.encode(), value.encode()) for name, value in more.items()]
    return Arrival(NOW, method, target, headers)


def test_good_arrivals_are_good() -> None:
    """A live token of the institution that was asked for."""
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
def test_bad_tokens_are_found_out(token: dict[str, object], target: str, complaint: str) -> None:
    """Foreign, of another user, of another kind."""
    outcomes, text = judged_arrivals(**token)
    outcomes.append(arrival(text, target))
    assert outcomes.broken == {complaint: 1}


def test_dead_tokens_are_found_out() -> None:
    """Judged when they are sent, however long they are on their way; to the end they are good."""
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


def test_stolen_and_doubled_tokens_are_found_out() -> None:
    """A bearer of the caller's own, or two of them."""
    outcomes, text = judged_arrivals()
    outcomes.append(arrival("stolen"))
    outcomes.append(arrival(text, authorization="Bearer other"))
    assert outcomes.broken == {"a token that is none of this bank's, or not exactly one": 2}


def test_second_arrival_of_an_unsafe_request_is_found_out() -> None:
    """The same transaction twice, unless it is safe."""
    outcomes, text = judged_arrivals()
    for _ in range(2):
        outcomes.append(arrival(text, method="POST"))
    assert outcomes.broken == {"an unsafe request arrived twice": 1}
