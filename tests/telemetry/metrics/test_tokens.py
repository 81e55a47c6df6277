"""Metrics of tokens: requests, and the current tokens."""

import pytest

from proxy.errors import TokenError, TokenFailure, kinds
from proxy.telemetry.metrics.tokens import TokenCollector, TokenRequestCollector
from proxy.tokens.cache import Entry
from proxy.tokens.events import (
    TokenRefreshed,
    TokenRefreshFailed,
    TokenRejected,
    TokenUnchanged,
    Trigger,
)
from proxy.tokens.held import CONFLICTS, HeldTokens
from proxy.tokens.token import Instant
from tests.telemetry.metrics.reading import KEY, LABELS, OTHER, families, token, value

NOW = Instant(1001, 1_800_001_000)


def test_refreshes_by_trigger() -> None:
    """By key and trigger, with durations."""
    collector = TokenRequestCollector()
    for trigger in (Trigger.FIRST, Trigger.DUE, Trigger.DUE):
        collector.add(TokenRefreshed(token(), 0.2, 3300, trigger))
    assert value(collector, "token_refreshes_total", **LABELS, trigger="first") == 1
    assert value(collector, "token_refreshes_total", **LABELS, trigger="due") == 2
    assert value(collector, "token_refresh_duration_seconds_count", kind="v2") == 3
    assert value(collector, "token_refresh_duration_seconds_sum", kind="v2") == pytest.approx(0.6)


def test_failures_by_reason() -> None:
    """With trigger and duration."""
    collector = TokenRequestCollector()
    error = TokenError(kinds.TOKEN_THROTTLED, "Too much.")
    collector.add(TokenRefreshFailed(KEY, error, 0.1, 1, 10, Trigger.DUE))
    labels = {**LABELS, "trigger": "due", "reason": "throttled"}
    assert value(collector, "token_refresh_failures_total", **labels) == 1
    assert value(collector, "token_refresh_duration_seconds_count", kind="v2") == 1


def test_refused_tokens() -> None:
    """By whether the token was dropped."""
    collector = TokenRequestCollector()
    collector.add(TokenRejected(token(), was_current=True))
    collector.add(TokenRejected(token(), was_current=False))
    collector.add(TokenRejected(token(), was_current=False))
    assert value(collector, "token_rejections_total", dropped="true", **LABELS) == 1
    assert value(collector, "token_rejections_total", dropped="false", **LABELS) == 2


def test_repeated_tokens() -> None:
    """With the duration of the call."""
    collector = TokenRequestCollector()
    collector.add(TokenUnchanged(token(), 0.1, 20))
    assert value(collector, "token_unchanged_total", **LABELS) == 1
    assert value(collector, "token_refresh_duration_seconds_count", kind="v2") == 1


def test_slow_calls_and_conflicts() -> None:
    """Zero before the first call."""
    entry = Entry(KEY, used_at=0)
    gauges = TokenCollector(lambda: [entry], lambda: NOW)
    names = ("call_seconds", "call_slow", "conflict")
    assert [value(gauges, f"token_{name}", **LABELS) for name in names] == [0, 0, 0]
    entry.call_seconds, entry.lifetime, entry.held.conflicts = 15.0, 30.0, CONFLICTS
    assert [value(gauges, f"token_{name}", **LABELS) for name in names] == [15, 1, 1]


def test_current_token_is_read_at_collection() -> None:
    """Issue time, expiry, age and remaining time."""
    entry = Entry(KEY, used_at=0, held=HeldTokens(token()))
    now = [NOW]
    gauges = TokenCollector(lambda: [entry], lambda: now[0])
    assert value(gauges, "token_last_success_timestamp_seconds", **LABELS) == 1_800_000_000
    assert value(gauges, "token_expiry_timestamp_seconds", **LABELS) == 1_800_003_600
    assert value(gauges, "token_lifetime_seconds", **LABELS) == 3600
    assert value(gauges, "token_age_seconds", **LABELS) == 1000
    assert value(gauges, "token_runway_seconds", **LABELS) == 2600
    now[0] = Instant(1002, 1_800_003_000)
    assert value(gauges, "token_runway_seconds", **LABELS) == 600
    assert value(gauges, "token_age_seconds", **LABELS) == 3000


def test_expired_token_has_no_remaining_time() -> None:
    """Zero, never negative."""
    entry = Entry(KEY, used_at=0, held=HeldTokens(token()))
    gauges = TokenCollector(lambda: [entry], lambda: Instant(5000, 1_800_005_000))
    assert value(gauges, "token_runway_seconds", **LABELS) == 0


def test_key_without_a_token() -> None:
    """It has failures only."""
    entry = Entry(OTHER, used_at=0, failures=3)
    gauges = TokenCollector(lambda: [entry], lambda: NOW)
    labels = {"kind": "v1", "institution": "00017", "login": ""}
    assert value(gauges, "token_runway_seconds", **labels) == 0
    assert value(gauges, "token_consecutive_failures", **labels) == 3
    for name in ("expiry_timestamp", "last_success_timestamp", "age", "lifetime"):
        assert value(gauges, f"token_{name}_seconds", **labels) is None


@pytest.mark.parametrize(
    ("reason", "retry_at", "until"),
    [
        (kinds.TOKEN_THROTTLED, 1031, 1_800_001_030),
        (kinds.TOKEN_THROTTLED, 1000, 0),
        (kinds.TOKEN_SERVER, 1031, 0),
    ],
)
def test_throttled_until(reason: TokenFailure, retry_at: float, until: float) -> None:
    """Only after throttling, until the retry."""
    entry = Entry(KEY, used_at=0, error=TokenError(reason, "No."), retry_at=retry_at)
    gauges = TokenCollector(lambda: [entry], lambda: NOW)
    assert value(gauges, "token_throttled_until_timestamp_seconds", **LABELS) == until


def test_released_key_has_no_series() -> None:
    """They would look like an expiring token."""
    entries = [
        Entry(KEY, used_at=0, held=HeldTokens(token())),
        Entry(OTHER, used_at=0, held=HeldTokens(token(OTHER))),
    ]
    gauges = TokenCollector(lambda: entries, lambda: NOW)
    del entries[0]
    for family in families(gauges).values():
        assert {sample.labels["institution"] for sample in family.samples} == {"00017"}
