"""Log lines of token, secret and configuration events."""

from typing import Any

import pytest

from proxy.errors import TokenError, kinds
from proxy.telemetry.events import (
    Event,
    InternalError,
    OperatorWarning,
    Reloaded,
    ReloadFailed,
)
from proxy.telemetry.logs.event_log import EventLog
from proxy.tokens.events import TokenRefreshed, TokenRefreshFailed, TokenRejected, TokenReleased
from proxy.upstream.events import (
    AddressFailed,
    AddressFailure,
    ConnectionOpened,
    LookedUp,
    LookupResult,
)
from tests.telemetry.logs.writing import KEY, SECRET, TOKEN, lines, set_up

FACTS: list[tuple[Event, dict[str, Any]]] = [
    (
        TokenRefreshed(TOKEN, 0.1234, 3300.04),
        {"event": "token refreshed", "level": "info", "lifetime": 3600, "refresh_in": 3300.0},
    ),
    (
        TokenRefreshFailed(
            KEY, TokenError(kinds.TOKEN_THROTTLED, "Too much.", code="CMN_90002"), 0.2, 3, 20
        ),
        {"event": "token refresh failed", "level": "warning", "reason": "throttled"}
        | {"code": "CMN_90002", "failures": 3, "retry_in": 20, "detail": "Too much."},
    ),
    (
        TokenRejected(TOKEN, was_current=True),
        {"event": "token rejected by the bank", "dropped": True},
    ),
    (TokenReleased(KEY), {"event": "unused token released", "level": "info"}),
]
RELOADS: list[tuple[Event, dict[str, Any]]] = [
    (Reloaded("signal"), {"event": "configuration reloaded", "level": "info", "why": "signal"}),
    (
        ReloadFailed("file", "listen: changed."),
        {"event": "configuration reload failed", "level": "error", "why": "file"}
        | {"detail": "listen: changed."},
    ),
]


@pytest.mark.parametrize(("event", "expected"), FACTS, ids=lambda value: type(value).__name__)
def test_line_of_a_token_event(event: Event, expected: dict[str, Any]) -> None:
    """It names the token's key, never its text."""
    out = set_up()
    EventLog().event(event)
    (line,) = lines(out)
    assert line.items() >= {"kind": "v2", "institution": "00016", **expected}.items()
    assert SECRET not in out.getvalue()


@pytest.mark.parametrize(("event", "expected"), RELOADS, ids=lambda value: type(value).__name__)
def test_line_of_a_reload(event: Event, expected: dict[str, Any]) -> None:
    """Success, or failure with its reason."""
    out = set_up()
    EventLog().event(event)
    (line,) = lines(out)
    assert line.items() >= expected.items()
    assert "exception" not in line


def test_addresses_of_the_bank() -> None:
    """A dead address and a failed look-up are lines where something else is used instead.

    Without that, the request or the token call has a line with the error.
    """
    out = set_up()
    refused, no_answer = AddressFailure.REFUSED, AddressFailure.NO_ANSWER
    EventLog().event(AddressFailed("bank.test", "192.0.2.1:443", no_answer, "192.0.2.2:443"))
    EventLog().event(AddressFailed("bank.test", "192.0.2.2:443", refused))
    EventLog().event(LookedUp("bank.test", LookupResult.STALE, 5.00001, "No answer"))
    EventLog().event(LookedUp("bank.test", LookupResult.FAILURE, 0.1, "No such name"))
    EventLog().event(ConnectionOpened(0.1))
    dead, stale = lines(out)
    assert (
        dead.items()
        >= {
            "event": "bank address failed; using another",
            "level": "warning",
            "host": "bank.test",
            "address": "192.0.2.1:443",
            "reason": "no_answer",
            "used": "192.0.2.2:443",
        }.items()
    )
    assert (
        stale.items()
        >= {
            "event": "DNS look-up failed; using earlier addresses",
            "level": "warning",
            "detail": "No answer",
            "seconds": 5.0,
        }.items()
    )


def test_line_of_an_operator_warning() -> None:
    """Redacted like all lines."""
    out = set_up()
    EventLog().event(OperatorWarning(f"kept nowhere: Bearer {SECRET}"))
    (line,) = lines(out)
    assert (line["level"], line["event"]) == ("warning", "kept nowhere: Bearer [hidden]")


def test_internal_error_has_a_traceback() -> None:
    """Without credentials."""
    out = set_up()
    bug = TokenError(kinds.TOKEN_INTERNAL, "It failed.")
    try:
        raise ZeroDivisionError(f"Bearer {SECRET}")
    except ZeroDivisionError as error:
        bug.__cause__ = error
        EventLog().event(InternalError(error))
    EventLog().event(TokenRefreshFailed(KEY, bug, 0.1, 1, 1))
    for line in lines(out):
        assert "test_event_log.py" in line["exception"]
        assert "ZeroDivisionError" in line["exception"]
    assert SECRET not in out.getvalue()


def test_ordinary_failure_has_no_traceback() -> None:
    """As when the bank is down."""
    out = set_up()
    error = TokenError(kinds.TOKEN_UNREACHABLE, "It is down.")
    error.__cause__ = OSError("refused")
    EventLog().event(TokenRefreshFailed(KEY, error, 0.1, 1, 1))
    assert "exception" not in lines(out)[0]
