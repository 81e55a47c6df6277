"""The status document: tokens, events, requests and errors."""

import dataclasses
from typing import Any

import pytest

from proxy.admin import status
from proxy.admin.document import About, Load, Status
from proxy.admin.health import Condition, TokenInput
from proxy.admin.history import History
from proxy.admin.readiness import Readiness
from proxy.admin.status import StatusInput, build, token_state
from proxy.errors import ErrorKind, ProxyError, TokenError, kinds
from proxy.forwarding.record import RequestRecord
from proxy.telemetry.events import Reloaded
from proxy.telemetry.metrics.totals import Totals
from proxy.tokens.cache import Entry
from proxy.tokens.events import TokenRefreshed, TokenRefreshFailed, Trigger
from proxy.tokens.held import CONFLICTS, HeldTokens
from proxy.tokens.token import Instant, Token, TokenKey, TokenKind

NOW = Instant(10_000.0, 1_800_000_000.0)
KEY = TokenKey(TokenKind.V2, "00016")
ERROR = TokenError(kinds.TOKEN_BAD_CLIENT, "Refused.", code="CMN_90004")


def entry(age: float | None = 0.0, *, key: TokenKey = KEY, **known: Any) -> Entry:
    """Return a key with a token of this age (one hour, due at 3,000 s), or without one."""
    if age is not None:
        issued = Instant(NOW.monotonic - age, NOW.wall - age)
        held = HeldTokens(Token(key, "gBOL-secret", issued, 3600))
        known |= {"held": held, "refresh_age": 3000.0}
    return Entry(key, 0.0, **known)


def status_input(*entries: Entry) -> StatusInput:
    """Return the input of a status with these keys."""
    return StatusInput(
        now=NOW,
        about=About(
            version="1", started_at=0.0, uptime=1.0, upstream="https://x", institution="00016"
        ),
        listeners=[],
        readiness=Readiness(),
        conditions=[Condition("ok", "Working.")],
        entries=entries,
        institutions=frozenset({"00016"}),
        load=Load(in_flight=0, caller_connections=0, upstream_connections=0, upstream_idle=0),
    )


@pytest.fixture
def history() -> History:
    """An empty history."""
    return History(Totals, lambda: NOW)


def built(history: History, *entries: Entry) -> Status:
    """Return the document."""
    return build(status_input(*entries), history)


def test_fresh_token() -> None:
    """Issue time, refresh time, expiry."""
    found = token_state(entry(600.0), NOW)
    assert (found.state, found.runway, found.failure) == ("fresh", 3000.0, None)
    assert found.issued_at == NOW.wall - 600
    assert found.refresh_at == NOW.wall + 2400
    assert found.expires_at == NOW.wall + 3000


@pytest.mark.parametrize(
    ("age", "error", "state"),
    [
        (600.0, None, "fresh"),
        (600.0, ERROR, "failing"),
        (3600.0, ERROR, "missing"),
        (3600.0, None, "pending"),
        (None, ERROR, "missing"),
        (None, None, "pending"),
    ],
)
def test_state_of_a_token(age: float | None, error: TokenError | None, state: str) -> None:
    """From its expiry and the last refresh."""
    assert token_state(entry(age, error=error), NOW).state == state


def test_failing_token_has_its_error() -> None:
    """Message, remedy, and the bank's code."""
    failure = token_state(entry(error=ERROR, failures=3), NOW).failure
    assert failure is not None
    assert (failure.reason, failure.detail, failure.code) == (
        "token-bad-client",
        "Refused.",
        "CMN_90004",
    )
    assert "client_id" in failure.advice


def test_machine_that_slept() -> None:
    """The wall clock's expiry counts."""
    slept = Instant(NOW.monotonic + 10, NOW.wall + 1000)
    found = token_state(entry(0.0), slept)
    assert found.runway == 2600
    assert found.expires_at == slept.wall + 2600


def test_tokens_are_ordered_by_severity(history: History) -> None:
    """Missing, failing, fresh; bounded."""
    keys = [TokenKey(TokenKind.V2, f"{number:05}") for number in range(1500)]
    entries = [entry(key=key) for key in keys]
    entries[77] = entry(error=ERROR, key=keys[77])
    entries[99] = entry(None, error=ERROR, key=keys[99])
    found = built(history, *entries)
    assert [token.institution for token in found.tokens[:2]] == ["00099", "00077"]
    assert (len(found.tokens), found.tokens_in_all) == (1000, 1500)


def test_refreshes_newest_first(history: History) -> None:
    """With trigger, duration and result."""
    token = entry().token
    assert token is not None
    history.event(TokenRefreshed(token, 0.25, 3000.0, Trigger.FIRST))
    history.event(TokenRefreshFailed(KEY, ERROR, 0.5, 1, 60.0, Trigger.DUE))
    failed, refreshed = built(history, entry()).refreshes
    assert (refreshed.result, refreshed.why, refreshed.took) == ("refreshed", "first", 0.25)
    assert (failed.result, failed.why, failed.retry_in) == ("failed", "due", 60.0)
    assert (failed.reason, failed.detail) == ("token-bad-client", "Refused.")


def request(target: bytes = b"/v1/accounts/8812345?q=secret", **known: Any) -> RequestRecord:
    """Return a request of 50 ms, 40 of them the bank's, that ended two seconds ago."""
    made = RequestRecord("GET", target, NOW.monotonic - 2.05)
    made.transaction_id, made.route, made.institution = "7b85", TokenKind.V2, "00016"
    made.status, made.sent_at = 200, made.started_at + 0.002
    made.responded_at, made.finished_at = made.sent_at + 0.04, made.started_at + 0.05
    for name, value in known.items():
        setattr(made, name, value)
    return made


def refused(kind: ErrorKind, detail: str = "") -> RequestRecord:
    """Return a request that the proxy refused."""
    made = request(status=kind.status)
    made.note(ProxyError(kind, detail))
    return made


def test_request(history: History) -> None:
    """Masked path, shares of time, id; no query."""
    history.request(request())
    (found,) = built(history).requests
    assert (found.method, found.path, found.status) == ("GET", "/v1/accounts/…", 200)
    assert (found.total_ms, found.upstream_ms, found.proxy_ms) == (50.0, 40.0, 10.0)
    assert found.at == pytest.approx(NOW.wall - 2)
    assert (found.transaction_id, found.error_source, found.listener) == ("7b85", "none", "main")


def test_request_without_a_response(history: History) -> None:
    """It has no shares of time."""
    history.request(request(responded_at=0.0, token_wait=0.003, is_aborted=True, status=0))
    (found,) = built(history).requests
    assert (found.proxy_ms, found.upstream_ms, found.waited_ms, found.aborted) == (
        None,
        None,
        3.0,
        True,
    )


def test_texts_of_callers_are_bounded(history: History) -> None:
    """Method, id and path."""
    made = request(b"/" + b"x" * 9000, transaction_id="i" * 9000)
    made.method = "M" * 9000
    history.request(made)
    (found,) = built(history).requests
    assert max(len(found.method), len(found.transaction_id), len(found.path)) <= 200


def test_errors(history: History) -> None:
    """Newest first, with their last request."""
    history.request(refused(kinds.OVERLOADED))
    history.request(refused(kinds.INSTITUTION_NOT_ALLOWED, "No."))
    newest, oldest = built(history).errors
    assert (oldest.reason, oldest.source, oldest.count) == ("overloaded", "proxy", 1)
    assert (newest.method, newest.path, newest.status) == ("GET", "/v1/accounts/…", 403)
    assert (newest.transaction_id, newest.detail, newest.area) == ("7b85", "No.", "request")


def test_error_without_a_request(history: History) -> None:
    """It has no path and id."""
    history.event(TokenRefreshFailed(KEY, ERROR, 0.5, 1, 60.0))
    (found,) = built(history).errors
    assert (found.area, found.institution) == ("token", "00016")
    assert (found.method, found.path, found.status, found.transaction_id) == ("", "", 0, "")


def test_last_reload(history: History) -> None:
    """If there was one."""
    assert built(history).reload is None
    history.event(Reloaded("signal"))
    found = built(history).reload
    assert found is not None
    assert (found.success, found.why, found.at) == (True, "signal", NOW.wall)


def test_health_is_the_worst_condition(history: History) -> None:
    """The others follow; institutions are bounded."""
    many = tuple(f"{number:05}" for number in range(150))
    worst = Condition("failing", "Fail.", "upstream-connect", "Refused.", "Start it.", many)
    other = Condition("warning", "Some fail.", "bank-error", "Failed.", "Wait.")
    source = dataclasses.replace(status_input(), conditions=[worst, other])
    found = build(source, history).health
    assert (found.state, found.reason, found.cause) == ("failing", "upstream-connect", "Refused.")
    assert len(found.institutions) == 100
    assert [each.reason for each in found.others] == ["bank-error"]


def test_health_input_has_tokens_and_traffic(history: History) -> None:
    """With the exact kind of a token's error."""
    new = TokenKey(TokenKind.V1, "00016")
    entries = [entry(600.0, error=ERROR, pinned=True), Entry(new, 0.0)]
    entries[1].call_seconds, entries[1].lifetime = 4.0, 6.0
    entries[1].held.conflicts = CONFLICTS
    found = status.health_input(entries, history, NOW, draining=True, reload_failure="No.")
    assert (found.draining, found.reload_failure) == (True, "No.")
    assert found.tokens == [
        TokenInput(
            KEY, "failing", pinned=True, runway=3000.0, error=ERROR.explained_by, detail="Refused."
        ),
        TokenInput(new, "pending", is_new=True, slow_call=(4.0, 6.0), is_in_conflict=True),
    ]


def test_document_shows_no_secret(history: History) -> None:
    """Neither token text nor query."""
    token = entry().token
    assert token is not None
    history.event(TokenRefreshed(token, 0.25, 3000.0))
    history.request(request())
    text = built(history, entry()).model_dump_json()
    assert "gBOL" not in text
    assert "secret" not in text


def test_bounds_are_documented() -> None:
    """In docs."""
    assert status.TOKENS == 1000
