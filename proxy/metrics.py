"""The only module that knows Prometheus: facts in, series out.

A request costs a few additions to plain numbers; the series are made when somebody asks.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.openmetrics.exposition import CONTENT_TYPE_LATEST as OPENMETRICS
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.registry import Collector

from proxy import __version__
from proxy.facts import (
    Fact,
    Reloaded,
    ReloadFailed,
    RequestRecord,
    TokenRefreshed,
    TokenRefreshFailed,
    TokenRejected,
    TokenReleased,
)
from proxy.tokens.token import TokenKey

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Seconds; from the proxy's own share to the bank's patience."""

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_TOKEN_LABELS = ("kind", "institution")


class RequestTally(Collector):
    """Counts requests in plain dictionaries. Labels come from closed sets only."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, str, int, str], int] = {}
        self._errors: dict[tuple[str, str], int] = {}
        self._durations: dict[str, list[int]] = {}
        self._seconds: dict[str, float] = {}
        self._bytes = {"received": 0, "sent": 0}
        self._replays = 0
        self._cut = 0
        self._refused = 0
        self._warned = 0

    def add(self, record: RequestRecord) -> None:
        """Count one finished request."""
        method = record.method if record.method in _METHODS else "other"
        key = (method, record.route, record.status, record.source)
        self._counts[key] = self._counts.get(key, 0) + 1
        if record.reason:
            error = (record.source, record.reason)
            self._errors[error] = self._errors.get(error, 0) + 1
        seconds = record.finished_at - record.started
        try:
            buckets = self._durations[record.route]
        except KeyError:
            buckets = self._durations[record.route] = [0] * (len(BUCKETS) + 1)
            self._seconds[record.route] = 0.0
        buckets[bisect_left(BUCKETS, seconds)] += 1
        self._seconds[record.route] += seconds
        self._bytes["received"] += record.sent_bytes
        self._bytes["sent"] += record.received_bytes
        self._replays += record.replays
        self._cut += record.cut
        self._refused += record.refused and not record.replays
        self._warned += record.warned

    def collect(self) -> Iterator[Metric]:
        """Make the series."""
        requests = CounterMetricFamily(
            "candescent_proxy_requests",
            "Requests answered, by whose error the answer is (none: the bank's own answer).",
            labels=("method", "route", "status", "error_source"),
        )
        for (method, route, status, source), count in self._counts.items():
            requests.add_metric((method, route, str(status), source), count)
        yield requests
        errors = CounterMetricFamily(
            "candescent_proxy_errors",
            "Requests that the proxy answered, or cut, itself: whose error it was, and which.",
            labels=("error_source", "reason"),
        )
        for (source, reason), count in self._errors.items():
            errors.add_metric((source, reason), count)
        yield errors
        durations = HistogramMetricFamily(
            "candescent_proxy_request_duration_seconds",
            "Time from a request's head to the last byte of its answer.",
            labels=("route",),
        )
        for route, buckets in self._durations.items():
            durations.add_metric((route,), list(_cumulative(buckets)), self._seconds[route])
        yield durations
        transferred = CounterMetricFamily(
            "candescent_proxy_body_bytes",
            "Bytes of bodies, received from callers and sent to them.",
            labels=("direction",),
        )
        for direction, count in self._bytes.items():
            transferred.add_metric((direction,), count)
        yield transferred
        yield CounterMetricFamily(
            "candescent_proxy_replays", "Requests that were sent a second time.", self._replays
        )
        yield CounterMetricFamily(
            "candescent_proxy_refused_not_replayed",
            "Requests whose token the bank refused and that were not sent again.",
            self._refused,
        )
        yield CounterMetricFamily(
            "candescent_proxy_policy_warnings",
            "Requests that were forwarded because access.mode is warn, and would be refused.",
            self._warned,
        )
        yield CounterMetricFamily(
            "candescent_proxy_requests_cut",
            "Requests whose caller went away or whose answer broke off.",
            self._cut,
        )


def _cumulative(buckets: Iterable[int]) -> Iterator[tuple[str, int]]:
    total = 0
    for bound, count in zip((*map(str, BUCKETS), "+Inf"), buckets, strict=True):
        total += count
        yield bound, total


class Metrics:
    """Every series of the proxy, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = RequestTally()
        self.request = self._requests.add
        self.registry.register(self._requests)
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        self._refreshes = Counter(
            "candescent_proxy_token_refreshes",
            "Token requests that the bank answered with a token.",
            _TOKEN_LABELS,
            registry=self.registry,
        )
        self._failures = Counter(
            "candescent_proxy_token_refresh_failures",
            "Token requests that brought no token, by reason.",
            (*_TOKEN_LABELS, "reason"),
            registry=self.registry,
        )
        self._duration = Histogram(
            "candescent_proxy_token_refresh_duration_seconds",
            "What a token request took, whatever came of it.",
            ("kind",),
            buckets=BUCKETS,
            registry=self.registry,
        )
        self._expiry = self._token_gauge(
            "expiry_timestamp_seconds", "When the token in use expires, in Unix time."
        )
        self._success = self._token_gauge(
            "last_success_timestamp_seconds", "When the token in use was issued, in Unix time."
        )
        self._consecutive = self._token_gauge(
            "consecutive_failures", "Token requests that failed since the last one that did not."
        )
        self._rejections = Counter(
            "candescent_proxy_token_rejections",
            "Tokens that the bank refused on a resource call.",
            (*_TOKEN_LABELS, "dropped"),
            registry=self.registry,
        )
        self._reloads = Counter(
            "candescent_proxy_reloads",
            "Changed configurations and secrets, by whether they were taken.",
            ("result",),
            registry=self.registry,
        )
        self._reloaded_well = Gauge(
            "candescent_proxy_last_reload_successful",
            "0 while a changed configuration or secret is not taken, 1 otherwise.",
            registry=self.registry,
        )
        self._reloaded_well.set(1)
        Gauge(
            "candescent_proxy_build_info",
            "The version that runs; the value is always 1.",
            ("version",),
            registry=self.registry,
        ).labels(__version__).set(1)

    def _token_gauge(self, name: str, text: str) -> Gauge:
        return Gauge(f"candescent_proxy_token_{name}", text, _TOKEN_LABELS, registry=self.registry)

    def watch_runway(self, read: Callable[[], Iterable[tuple[TokenKey, float]]]) -> None:
        """Expose how long until requests fail if nothing changes, for each key, in seconds."""
        self.registry.register(_Runway(read))

    def watch(self, name: str, text: str, read: Callable[[], float]) -> None:
        """Expose a number that is read when somebody asks."""
        self.registry.register(_Watched(f"candescent_proxy_{name}", text, read))

    def fact(self, fact: Fact) -> None:
        """Count one event of a token's life."""
        match fact:
            case TokenRefreshed(token, seconds):
                labels = _labels(token.key)
                self._refreshes.labels(*labels).inc()
                self._duration.labels(token.key.kind).observe(seconds)
                self._expiry.labels(*labels).set(token.expires_at)
                self._success.labels(*labels).set(token.issued.wall)
                self._consecutive.labels(*labels).set(0)
            case TokenRefreshFailed(key, error, seconds, failures):
                labels = _labels(key)
                self._failures.labels(*labels, error.reason.value).inc()
                self._duration.labels(key.kind).observe(seconds)
                self._consecutive.labels(*labels).set(failures)
            case TokenRejected(token, dropped):
                self._rejections.labels(*_labels(token.key), str(dropped).lower()).inc()
            case TokenReleased(key):
                self._forget(key)
            case Reloaded():
                self._reloads.labels("taken").inc()
                self._reloaded_well.set(1)
            case ReloadFailed():
                self._reloads.labels("refused").inc()
                self._reloaded_well.set(0)

    def _forget(self, key: TokenKey) -> None:
        for gauge in (self._expiry, self._success, self._consecutive):
            with suppress(KeyError):
                gauge.remove(*_labels(key))

    def exposition(self, accept: str) -> tuple[bytes, str]:
        """Return the series as text, and its content type, in the format asked for."""
        if "application/openmetrics-text" in accept:
            return generate_openmetrics(self.registry), OPENMETRICS  # type: ignore[no-untyped-call]  # the library has no types here
        return generate_latest(self.registry), CONTENT_TYPE_LATEST


class _Watched(Collector):
    def __init__(self, name: str, text: str, read: Callable[[], float]) -> None:
        self._name, self._text, self._read = name, text, read

    def collect(self) -> Iterator[Metric]:
        yield GaugeMetricFamily(self._name, self._text, value=self._read())


class _Runway(Collector):
    def __init__(self, read: Callable[[], Iterable[tuple[TokenKey, float]]]) -> None:
        self._read = read

    def collect(self) -> Iterator[Metric]:
        runway = GaugeMetricFamily(
            "candescent_proxy_token_runway_seconds",
            "How long until requests fail if no token request succeeds from now on.",
            labels=_TOKEN_LABELS,
        )
        for key, seconds in self._read():
            runway.add_metric(_labels(key), seconds)
        yield runway


def _labels(key: TokenKey) -> tuple[str, str]:
    return (key.kind.value, key.institution)
