"""Token requests, counted as they happen; the tokens in use, read when somebody asks."""

from collections.abc import Callable, Iterable, Iterator, Mapping

from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from proxy.errors import kinds
from proxy.telemetry.events import Event
from proxy.telemetry.metrics.families import Labels, counter, gauge, histogram
from proxy.telemetry.metrics.histogram import Histogram
from proxy.tokens.cache import Entry
from proxy.tokens.events import TokenRefreshed, TokenRefreshFailed, TokenRejected
from proxy.tokens.token import Instant, TokenKey

_KEY = ("kind", "institution")


class TokenRequestCollector(Collector):
    """Counts what came of token requests, and the tokens that the bank refused."""

    def __init__(self) -> None:
        self._refreshes: dict[Labels, float] = {}
        self._failures: dict[Labels, float] = {}
        self._rejections: dict[Labels, float] = {}
        self._durations: dict[Labels, Histogram] = {}

    def add(self, event: Event) -> None:
        """Count a fact, if it is one of a token's life."""
        match event:
            case TokenRefreshed(token, seconds, _, trigger):
                _count(self._refreshes, (*_labels(token.key), trigger.value))
                self._time(token.key, seconds)
            case TokenRefreshFailed(key, error, seconds, _, _, trigger):
                _count(self._failures, (*_labels(key), trigger.value, error.reason.label))
                self._time(key, seconds)
            case TokenRejected(token, dropped):
                _count(self._rejections, (*_labels(token.key), str(dropped).lower()))

    def _time(self, key: TokenKey, seconds: float) -> None:
        self._durations.setdefault((key.kind.value,), Histogram()).observe(seconds)

    def collect(self) -> Iterator[Metric]:
        """Make the series."""
        yield counter(
            "token_refreshes",
            "Token requests that the bank answered with a token, by why it was asked.",
            (*_KEY, "trigger"),
            self._refreshes.items(),
        )
        yield counter(
            "token_refresh_failures",
            "Token requests that brought no token, by why it was asked and why there was none.",
            (*_KEY, "trigger", "reason"),
            self._failures.items(),
        )
        yield histogram(
            "token_refresh_duration_seconds",
            "What a token request took, whatever came of it.",
            ("kind",),
            self._durations.items(),
        )
        yield counter(
            "token_rejections",
            "Tokens that the bank refused on a resource call.",
            (*_KEY, "dropped"),
            self._rejections.items(),
        )


def _labels(key: TokenKey) -> Labels:
    return (key.kind.value, key.institution)


def _count(counts: dict[Labels, float], labels: Labels) -> None:
    counts[labels] = counts.get(labels, 0) + 1


def expiry(entry: Entry, _now: Instant) -> float | None:
    """Return when the token in use expires, in Unix time."""
    return None if entry.token is None else entry.token.expires_at


def issued(entry: Entry, _now: Instant) -> float | None:
    """Return when the token in use was issued, in Unix time."""
    return None if entry.token is None else entry.token.issued.wall


def age(entry: Entry, now: Instant) -> float | None:
    """Return how old the token in use is, in seconds."""
    return None if entry.token is None else now.since(entry.token.issued)


def lifetime(entry: Entry, _now: Instant) -> float | None:
    """Return how long the token in use lives in all, in seconds."""
    return None if entry.token is None else entry.token.lifetime


def runway(entry: Entry, now: Instant) -> float:
    """Return how long until requests fail if nothing changes, in seconds."""
    return 0.0 if entry.token is None else max(entry.token.remaining(now), 0.0)


def failures(entry: Entry, _now: Instant) -> float:
    """Return the failures in a row."""
    return entry.failures


def throttled_until(entry: Entry, now: Instant) -> float:
    """Return until when the bank is left alone because it throttles, in Unix time; else 0."""
    left = entry.retry_at - now.monotonic
    if entry.error is None or entry.error.reason is not kinds.TOKEN_THROTTLED or left <= 0:
        return 0.0
    return now.wall + left


_GAUGES: Mapping[str, tuple[str, Callable[[Entry, Instant], float | None]]] = {
    "expiry_timestamp_seconds": ("When the token in use expires, in Unix time.", expiry),
    "last_success_timestamp_seconds": ("When the token in use was issued, in Unix time.", issued),
    "age_seconds": ("How old the token in use is.", age),
    "lifetime_seconds": ("How long the token in use lives in all.", lifetime),
    "runway_seconds": (
        "How long until requests fail if no token request succeeds from now on.",
        runway,
    ),
    "consecutive_failures": (
        "Token requests that failed since the last one that did not.",
        failures,
    ),
    "throttled_until_timestamp_seconds": (
        "Until when the bank is not asked because it said quota or spike, in Unix time; else 0.",
        throttled_until,
    ),
}


class TokenCollector(Collector):
    """What is known of each key now. ``entries`` is asked for anew each time."""

    def __init__(
        self, entries: Callable[[], Iterable[Entry]], clock: Callable[[], Instant]
    ) -> None:
        self._entries = entries
        self._clock = clock

    def collect(self) -> Iterator[Metric]:
        """Make the series."""
        now, entries = self._clock(), list(self._entries())
        for name, (text, read) in _GAUGES.items():
            values = ((_labels(entry.key), read(entry, now)) for entry in entries)
            known = [(labels, value) for labels, value in values if value is not None]
            yield gauge(f"token_{name}", text, _KEY, known)
