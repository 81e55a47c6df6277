"""Metrics of token calls, and of the tokens in use."""

from collections.abc import Callable, Iterable, Iterator, Mapping

from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from proxy.errors import kinds
from proxy.telemetry.events import Event
from proxy.telemetry.metrics.families import Labels, counter, gauge, histogram
from proxy.telemetry.metrics.histogram import Histogram
from proxy.tokens.cache import Entry
from proxy.tokens.events import (
    TokenRefreshed,
    TokenRefreshFailed,
    TokenRejected,
    TokenUnchanged,
)
from proxy.tokens.token import Instant, TokenKey

KEY_LABELS = ("kind", "institution", "login")
"""``login`` is a listener with a login of its own, empty for the institution's."""


class TokenRequestCollector(Collector):
    """Counts token calls by result, and rejected tokens."""

    def __init__(self) -> None:
        self._refreshes: dict[Labels, float] = {}
        self._failures: dict[Labels, float] = {}
        self._unchanged: dict[Labels, float] = {}
        self._rejections: dict[Labels, float] = {}
        self._durations: dict[Labels, Histogram] = {}

    def add(self, event: Event) -> None:
        """Count an event, if it is one of a token."""
        match event:
            case TokenRefreshed(token, seconds, _, trigger):
                _count(self._refreshes, (*key_labels(token.key), trigger.value))
                self._time(token.key, seconds)
            case TokenRefreshFailed(key, error, seconds, _, _, trigger):
                _count(self._failures, (*key_labels(key), trigger.value, error.reason.label))
                self._time(key, seconds)
            case TokenUnchanged(token, seconds):
                _count(self._unchanged, key_labels(token.key))
                self._time(token.key, seconds)
            case TokenRejected(token, dropped):
                _count(self._rejections, (*key_labels(token.key), str(dropped).lower()))

    def _time(self, key: TokenKey, seconds: float) -> None:
        self._durations.setdefault((key.kind.value,), Histogram()).observe(seconds)

    def collect(self) -> Iterator[Metric]:
        """Make the series."""
        yield counter(
            "token_refreshes",
            "Token requests that succeeded, by trigger.",
            (*KEY_LABELS, "trigger"),
            self._refreshes.items(),
        )
        yield counter(
            "token_refresh_failures",
            "Token requests that failed, by trigger and reason.",
            (*KEY_LABELS, "trigger", "reason"),
            self._failures.items(),
        )
        yield counter(
            "token_unchanged",
            "Token requests that got the token in use again.",
            KEY_LABELS,
            self._unchanged.items(),
        )
        yield histogram(
            "token_refresh_duration_seconds",
            "Duration of token requests, failed ones included.",
            ("kind",),
            self._durations.items(),
        )
        yield counter(
            "token_rejections",
            "Tokens that the bank refused on a resource call.",
            (*KEY_LABELS, "dropped"),
            self._rejections.items(),
        )


def key_labels(key: TokenKey) -> Labels:
    """Return the values of ``KEY_LABELS``."""
    return (key.kind.value, key.institution, key.subject)


def _count(counts: dict[Labels, float], labels: Labels) -> None:
    counts[labels] = counts.get(labels, 0) + 1


def expiry(entry: Entry, _now: Instant) -> float | None:
    """Return when the token in use expires, in Unix time."""
    return None if entry.token is None else entry.token.expires_at


def issued(entry: Entry, _now: Instant) -> float | None:
    """Return when the token in use was issued, in Unix time."""
    return None if entry.token is None else entry.token.issued.wall


def age(entry: Entry, now: Instant) -> float | None:
    """Return the age of the token in use, in seconds."""
    return None if entry.token is None else now.since(entry.token.issued)


def lifetime(entry: Entry, _now: Instant) -> float | None:
    """Return the lifetime of the token in use, in seconds."""
    return None if entry.token is None else entry.token.lifetime


def runway(entry: Entry, now: Instant) -> float:
    """Return the seconds until requests fail if no refresh succeeds."""
    return 0.0 if entry.token is None else max(entry.token.remaining(now), 0.0)


def failures(entry: Entry, _now: Instant) -> float:
    """Return the failures in a row."""
    return entry.failures


def throttled_until(entry: Entry, now: Instant) -> float:
    """Return when token calls resume after throttling, in Unix time; else 0."""
    left = entry.retry_at - now.monotonic
    if entry.error is None or entry.error.reason is not kinds.TOKEN_THROTTLED or left <= 0:
        return 0.0
    return now.wall + left


def call_seconds(entry: Entry, _now: Instant) -> float:
    """Return the duration of the last successful token call, in seconds; 0 before the first."""
    return entry.call_seconds


def is_call_slow(entry: Entry, _now: Instant) -> float:
    """Return 1 if it took half of its token's lifetime or more."""
    return float(entry.is_call_slow)


def conflict(entry: Entry, _now: Instant) -> float:
    """Return 1 while something else seems to invalidate the tokens."""
    return float(entry.held.is_in_conflict)


_GAUGES: Mapping[str, tuple[str, Callable[[Entry, Instant], float | None]]] = {
    "expiry_timestamp_seconds": ("When the token in use expires, in Unix time.", expiry),
    "last_success_timestamp_seconds": ("When the token in use was issued, in Unix time.", issued),
    "age_seconds": ("Age of the token in use.", age),
    "lifetime_seconds": ("Lifetime of the token in use.", lifetime),
    "runway_seconds": (
        "Time until requests fail if no token request succeeds.",
        runway,
    ),
    "consecutive_failures": (
        "Failed token requests since the last successful one.",
        failures,
    ),
    "throttled_until_timestamp_seconds": (
        "When token requests resume after a quota or spike error, in Unix time; else 0.",
        throttled_until,
    ),
    "call_seconds": ("Duration of the last successful token request.", call_seconds),
    "call_slow": (
        "Whether the last token request took half of its token's lifetime or more.",
        is_call_slow,
    ),
    "conflict": (
        "Whether new tokens are refused soon again and again, and the next ones accepted.",
        conflict,
    ),
}


class TokenCollector(Collector):
    """The tokens in use, by key. ``entries`` is called at each scrape."""

    def __init__(
        self, entries: Callable[[], Iterable[Entry]], clock: Callable[[], Instant]
    ) -> None:
        self._entries = entries
        self._clock = clock

    def collect(self) -> Iterator[Metric]:
        """Make the series."""
        now, entries = self._clock(), list(self._entries())
        for name, (text, read) in _GAUGES.items():
            values = ((key_labels(entry.key), read(entry, now)) for entry in entries)
            known = [(labels, value) for labels, value in values if value is not None]
            yield gauge(f"token_{name}", text, KEY_LABELS, known)
