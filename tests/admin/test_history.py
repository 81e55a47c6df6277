"""History of the status page: bounded, newest last, without token texts."""

import asyncio

import pytest

from proxy.admin.health import Outcome, Traffic
from proxy.admin.history import MAX_ERRORS, MAX_EVENTS, MAX_REQUESTS, History, outcome_kind
from proxy.admin.rates import INTERVAL, INTERVALS, MINUTE, SAMPLES
from proxy.errors import ErrorKind, ProxyError, Source, TokenError, kinds
from proxy.forwarding.record import RequestRecord
from proxy.telemetry.events import Reloaded, ReloadFailed
from proxy.telemetry.metrics.requests import RequestCollector
from proxy.telemetry.metrics.totals import Totals
from proxy.tokens.events import (
    TokenRefreshed,
    TokenRefreshFailed,
    TokenRejected,
    TokenReleased,
    Trigger,
)
from proxy.tokens.token import Instant, Token, TokenKey, TokenKind
from tests.support.running import until
from tests.support.secret_search import reprs

KEY = TokenKey(TokenKind.V2, "00016")
ERROR = TokenError(kinds.TOKEN_SERVER, "The bank failed.", code="CMN_90000")


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        """Start at some time."""
        self.now = 1000.0

    def __call__(self) -> Instant:
        """Return the time; the wall clock is a million seconds ahead."""
        return Instant(self.now, self.now + 1_000_000)


def token() -> Token:
    """Return a token with a recognizable text."""
    return Token(KEY, "Mark0Token0Mark", Instant(990.0, 1_000_990.0), 3600.0)


def record(kind: ErrorKind | None = None, detail: str = "", status: int = 200) -> RequestRecord:
    """Return a finished request."""
    made = RequestRecord("GET", b"/v1/accounts?q=1", 999.0)
    made.status = status
    if kind is not None:
        made.note(ProxyError(kind, detail))
    return made


@pytest.fixture
def clock() -> Clock:
    """The clock of the test."""
    return Clock()


@pytest.fixture
def history(clock: Clock) -> History:
    """An enabled history."""
    return History(Totals, clock)


def test_requests_are_bounded(history: History) -> None:
    """The last hundred are kept."""
    made = [record() for _ in range(3 * MAX_REQUESTS)]
    for each in made:
        history.request(each)
    assert list(history.requests) == made[-MAX_REQUESTS:]


def test_token_events(history: History, clock: Clock) -> None:
    """Refreshes, failures and refusals with time, trigger and result."""
    history.event(TokenRefreshed(token(), 0.25, 3000.0, Trigger.FIRST))
    clock.now += 10
    history.event(TokenRefreshFailed(KEY, ERROR, 0.5, 2, 7.0, Trigger.DUE))
    history.event(TokenRejected(token(), was_current=True))
    first, failed, rejected = history.events
    assert (first.at, first.result, first.why) == (1_001_000.0, "refreshed", Trigger.FIRST)
    assert (first.took, first.lifetime) == (0.25, 3600.0)
    assert (failed.at, failed.result, failed.failures) == (1_001_010.0, "failed", 2)
    assert (failed.retry_in, failed.reason) == (7.0, "token-server")
    assert (rejected.result, rejected.reason) == ("rejected", "token-refused")


def test_token_events_are_bounded(history: History) -> None:
    """A bank that fails for days uses no more memory."""
    for _ in range(3 * MAX_EVENTS):
        history.event(TokenRefreshFailed(KEY, ERROR, 0.5, 2, 7.0))
    assert len(history.events) == MAX_EVENTS


def test_token_text_is_not_kept(history: History) -> None:
    """Only plain values of the event are."""
    history.event(TokenRefreshed(token(), 0.25, 3000.0))
    history.event(TokenRejected(token(), was_current=False))
    assert "RecentTokenEvent" in {kind for kind, _ in reprs(history)}
    assert "Token" not in {kind for kind, _ in reprs(history)}


def test_errors_are_counted_by_name(history: History, clock: Clock) -> None:
    """First and last time, and the last request."""
    for _ in range(1000):
        history.request(record(kinds.INSTITUTION_CONFLICT, "The path and the header."))
        clock.now += 1
    last = record(kinds.INSTITUTION_CONFLICT, "Two of them.")
    history.request(last)
    (found,) = history.errors.values()
    assert (found.area, found.source, found.count) == ("request", Source.CALLER, 1001)
    assert (found.first_at, found.last_at) == (1_001_000.0, 1_002_000.0)
    assert (found.detail, found.record) == ("Two of them.", last)


def test_errors_are_ordered_by_time(history: History) -> None:
    """A repeated error moves to the end."""
    first, second, third = kinds.METHOD, kinds.TARGET, kinds.INTERNAL
    for kind in (first, second, third, first):
        history.request(record(kind))
    assert [found.kind for found in history.errors.values()] == [second, third, first]


def test_error_with_two_causes_is_two_errors(history: History) -> None:
    """Each with its remedy."""
    for failure in (kinds.UPSTREAM_RESOLVE, kinds.UPSTREAM_TLS_EXPIRED):
        error = TokenError(kinds.TOKEN_UNREACHABLE, failure=failure)
        history.event(TokenRefreshFailed(KEY, error, 0.5, 2, 7.0, Trigger.DUE))
    found = list(history.errors.values())
    assert [each.reason for each in found] == ["token-unreachable"] * 2
    assert [each.source for each in found] == [Source.TOKEN] * 2
    assert [each.kind for each in found] == [kinds.UPSTREAM_RESOLVE, kinds.UPSTREAM_TLS_EXPIRED]


def test_errors_are_bounded(history: History) -> None:
    """The oldest are dropped."""
    many = [ErrorKind(f"{at}", 503, Source.PROXY, "No.", "None.") for at in range(3 * MAX_ERRORS)]
    for kind in many:
        history.request(record(kind))
    assert [each.kind for each in history.errors.values()] == many[-MAX_ERRORS:]


def test_error_of_the_bank(history: History) -> None:
    """A 5xx."""
    history.request(record(status=503))
    (found,) = history.errors.values()
    assert (found.reason, found.detail) == ("bank-error", "The bank responded 503.")
    assert found.source is Source.NONE


def test_errors_without_requests(history: History) -> None:
    """Refresh, refused token, failed reload."""
    history.event(TokenRefreshFailed(KEY, ERROR, 0.5, 1, 7.0))
    history.event(TokenRejected(token(), was_current=True))
    history.event(ReloadFailed("file", "listen: changed"))
    assert [(found.area, found.reason) for found in history.errors.values()] == [
        ("token", "token-server"),
        ("token", "token-refused"),
        ("configuration", "reload-failed"),
    ]


def test_last_reload(history: History) -> None:
    """Its time and result."""
    history.event(ReloadFailed("file", "listen: changed"))
    assert history.reload is not None
    assert (history.reload.success, history.reload.detail) == (False, "listen: changed")
    history.event(Reloaded("signal"))
    assert (history.reload.success, history.reload.why, history.reload.detail) == (
        True,
        "signal",
        "",
    )


def test_other_events_are_ignored(history: History) -> None:
    """As released tokens."""
    history.event(TokenReleased(KEY))
    assert not history.events
    assert not history.errors


async def test_samples_are_taken_periodically(
    history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until cancelled."""
    monkeypatch.setattr("proxy.admin.history.INTERVAL", 0.001)
    running = asyncio.create_task(history.run())
    await until(lambda: len(history.samples) > 3)
    running.cancel()
    assert history.samples[0].at == Instant(1000.0, 1_001_000.0)
    assert len(history.intervals) == len(history.samples) - 1


def test_samples_are_bounded(history: History, clock: Clock) -> None:
    """A minute of totals and a quarter of an hour of rates."""
    for _ in range(1000):
        clock.now += INTERVAL
        history.sample()
    assert (len(history.samples), len(history.intervals)) == (SAMPLES, INTERVALS)
    assert SAMPLES * INTERVAL > MINUTE
    assert INTERVALS * INTERVAL == 15 * MINUTE


def responded(status: int, *, refused: bool = False) -> RequestRecord:
    """Return a request with the bank's own response; ``refused``: it refused the token."""
    made = record(status=status)
    made.is_token_refused = refused
    return made


@pytest.mark.parametrize(
    ("finished", "kind"),
    [
        (responded(200), None),
        (responded(200, refused=True), None),  # the second token was accepted
        (responded(404, refused=True), None),
        (responded(404), None),
        (responded(401, refused=True), kinds.TOKEN_REFUSED),
        (responded(400, refused=True), kinds.TOKEN_REFUSED),
        (responded(401), kinds.BANK_DENIED),
        (responded(403), kinds.BANK_DENIED),
        (responded(429), kinds.BANK_THROTTLED),
        (responded(500), kinds.BANK_ERROR),
        (record(kinds.METHOD, status=405), kinds.METHOD),
    ],
)
def test_outcome(finished: RequestRecord, kind: ErrorKind | None) -> None:
    """Also of the bank's own responses."""
    assert outcome_kind(finished) is kind


async def test_traffic_of_the_last_minute(clock: Clock) -> None:
    """By institution and kind, with the last outcomes; without what callers aborted."""
    collector = RequestCollector()
    history = History(collector.totals, clock)

    def finish(made: RequestRecord, institution: str = "00016") -> None:
        made.institution = institution
        made.started_at = made.finished_at = clock.now
        collector.add(made)
        history.request(made)

    finish(responded(200))
    history.sample()
    clock.now += 50
    finish(responded(401, refused=True))
    finish(responded(204), "00145")
    finish(responded(0))
    finish(record(kinds.SLOW_HEAD, status=408), "")
    finish(record(kinds.METHOD, "No CONNECT.", status=405), "")
    clock.now += 4
    found = history.traffic()
    assert found.requests == {"00016": 1, "00145": 1, "": 1}
    assert found.failures == {(kinds.TOKEN_REFUSED, "00016"): 1, (kinds.METHOD, ""): 1}
    assert found.recent[1:] == [
        Outcome(4.0, "00016", kinds.TOKEN_REFUSED),
        Outcome(4.0, "00145"),
        Outcome(4.0, "", kinds.METHOD),
    ]
    assert found.details[kinds.METHOD] == "No CONNECT."
    assert found.has_bank_response
    for _ in range(SAMPLES):
        clock.now += INTERVAL
        history.sample()
    assert history.traffic() == Traffic(recent=[], details=found.details)
