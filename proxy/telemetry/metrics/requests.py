"""Metrics of requests. Labels have closed sets of values; none contains input of a caller."""

import re
import time
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from http import HTTPStatus
from operator import attrgetter

from prometheus_client.core import Metric
from prometheus_client.registry import Collector
from prometheus_client.samples import Exemplar

from proxy.errors import ErrorKind, kinds
from proxy.forwarding.record import RequestRecord
from proxy.forwarding.routing import METHODS
from proxy.telemetry.metrics.families import Labels, counter, histogram
from proxy.telemetry.metrics.histogram import BUCKETS, FINE_BUCKETS, Histogram
from proxy.telemetry.metrics.totals import FAILED, Buckets, Totals

_REGISTERED = frozenset(status.value for status in HTTPStatus)
STATUSES = tuple(
    str(status) if status in _REGISTERED or not status else f"{status // 100}xx"
    for status in range(600)
)
"""The label of each status: registered ones unchanged, others by their class."""

_SHED: dict[ErrorKind | None, str] = {
    kinds.OVERLOADED: "in_flight",
    kinds.MEMORY: "memory",
    kinds.TOO_MANY_CONNECTIONS: "connections",
    kinds.UPSTREAM_BUSY: "upstream_busy",
    kinds.OUT_OF_FILES: "out_of_files",
}
"""Errors because of a limit, with the reason by which they are counted."""

_EXEMPLAR = "transactionId"
LONGEST_ID = 128 - len(_EXEMPLAR)
"""Characters; OpenMetrics allows an exemplar 128, names included."""

# Other characters in a caller's id would have to be escaped, and readers of exemplars that do not
# support escapes would reject the whole scrape.
_EXEMPLAR_ID = re.compile(rf"[0-9A-Za-z._~:/+=@-]{{1,{LONGEST_ID}}}")


_Key = tuple[str, str, str, str, str, str, str]
"""Method, route, status, error source, institution, listener, application."""


class RouteDurations:
    """The durations of the requests of one route, and the last request of each bucket."""

    def __init__(self) -> None:
        self.total = Histogram(BUCKETS)
        self.proxy = Histogram(FINE_BUCKETS)
        self.upstream = Histogram(BUCKETS)
        self.token_wait = Histogram(BUCKETS)
        self.connection_wait = Histogram(BUCKETS)
        self.ids = [""] * len(self.total.counts)
        self.seconds = [0.0] * len(self.total.counts)
        self.ended_at = [0.0] * len(self.total.counts)


_DURATIONS = (
    (
        "request_proxy_duration_seconds",
        "Time the proxy adds to a request that goes to the bank once and gets a response.",
        attrgetter("proxy"),
    ),
    (
        "upstream_duration_seconds",
        "Time the bank takes, from the last byte of a request to the head of its response.",
        attrgetter("upstream"),
    ),
    (
        "token_wait_seconds",
        "Time that requests waited for a token that was not cached.",
        attrgetter("token_wait"),
    ),
    (
        "connection_wait_seconds",
        "Time that requests waited for a new or released connection to the bank.",
        attrgetter("connection_wait"),
    ),
)


class RequestCollector(Collector):
    """Counts in plain dictionaries. ``timer`` is the clock of the records, ``wall`` Unix time."""

    def __init__(
        self,
        timer: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._timer = timer
        self._wall = wall
        self._counts: dict[_Key, int] = {}
        self._errors: dict[Labels, float] = {}
        self._shed: dict[Labels, float] = dict.fromkeys(((reason,) for reason in _SHED.values()), 0)
        self._times: dict[str, RouteDurations] = {}
        self._retries: dict[Labels, float] = {
            ("success",): 0,
            ("failure",): 0,
            ("over_budget",): 0,
        }
        self._received = self._sent = 0
        self._replays = self._aborted = self._token_refused = self._policy_warnings = 0

    def add(self, record: RequestRecord) -> None:
        """Count one finished request."""
        # Callers choose the method; other ones are one label.
        method = record.method if record.method in METHODS else "other"
        route = record.route
        status = STATUSES[record.status]
        key = (
            method,
            route,
            status,
            record.source,
            record.institution,
            record.listener,
            record.application,
        )
        # try costs only for a new key; ``get`` with a default would cost for every request.
        try:
            self._counts[key] += 1
        except KeyError:
            self._counts[key] = 1
        try:
            times = self._times[route]
        except KeyError:
            times = self._times[route] = RouteDurations()
        end = record.finished_at
        seconds = end - record.started_at
        at = bisect_left(BUCKETS, seconds)
        times.total.counts[at] += 1
        times.total.total += seconds
        times.ids[at], times.seconds[at], times.ended_at[at] = record.transaction_id, seconds, end
        durations = record.durations()
        if durations is not None:
            proxy, upstream = durations
            times.proxy.counts[bisect_left(FINE_BUCKETS, proxy)] += 1
            times.proxy.total += proxy
            times.upstream.counts[bisect_left(BUCKETS, upstream)] += 1
            times.upstream.total += upstream
        if record.token_wait:
            times.token_wait.observe(record.token_wait)
        if record.connection_wait:
            times.connection_wait.observe(record.connection_wait)
        if record.reason:
            self._add_error(record)
        self._received += record.sent_bytes
        self._sent += record.received_bytes
        self._replays += record.replays
        if record.retry:
            self._retries[(record.retry,)] += 1
        self._aborted += record.is_aborted
        self._token_refused += record.is_token_refused and not record.replays
        self._policy_warnings += record.has_policy_warning

    def _add_error(self, record: RequestRecord) -> None:
        error = (record.source, record.reason)
        self._errors[error] = self._errors.get(error, 0) + 1
        if record.error_kind in _SHED:
            self._shed[(_SHED[record.error_kind],)] += 1

    def totals(self) -> Totals:
        """Return the totals, without building metric families."""
        requests = bank_responses = 0
        institutions: dict[str, int] = {}
        failed = dict.fromkeys(FAILED, 0)
        for (_, _, status, source, institution, *_), count in self._counts.items():
            requests += count
            if status != "0" or source != "none":  # else the caller has left
                institutions[institution] = institutions.get(institution, 0) + count
                bank_responses += count if source == "none" else 0
            failed_source = "bank" if source == "none" and status[0] == "5" else source
            if failed_source in failed:
                failed[failed_source] += count
        routes = self._times.values()
        return Totals(
            requests,
            failed,
            _sums([times.total.counts for times in routes]),
            _sums([times.proxy.counts for times in routes]),
            institutions,
            bank_responses,
        )

    def collect(self) -> Iterator[Metric]:
        """Yield the metric families."""
        yield counter(
            "requests",
            "Finished requests, by the source of an error (none: the bank's response).",
            ("method", "route", "status", "error_source"),
            self._folded(lambda method, route, status, source, *_: (method, route, status, source)),
        )
        yield counter(
            "institution_requests",
            "Finished requests, by institution.",
            ("institution", "route", "status_class", "error_source"),
            self._folded(
                lambda _, route, status, source, institution, *__: (
                    institution or "none",
                    route,
                    _class_of(status),
                    source,
                )
            ),
        )
        yield counter(
            "listener_requests",
            "Finished requests, by listener and by the caller's allowed certificate name.",
            ("listener", "application", "status_class", "error_source"),
            self._folded(
                lambda _, __, status, source, ___, listener, application: (
                    listener,
                    application or "none",
                    _class_of(status),
                    source,
                )
            ),
        )
        yield counter(
            "errors",
            "Requests with an error response of the proxy, or aborted, by source and reason.",
            ("error_source", "reason"),
            self._errors.items(),
        )
        yield counter(
            "requests_shed",
            "Requests refused with 503 because of a limit.",
            ("reason",),
            self._shed.items(),
        )
        yield from self._plain_counters()
        yield from self._histograms()

    def _folded(
        self, fold: Callable[[str, str, str, str, str, str, str], Labels]
    ) -> Iterable[tuple[Labels, float]]:
        """Return the counts summed over the other labels."""
        folded: dict[Labels, float] = {}
        for key, count in self._counts.items():
            labels = fold(*key)
            folded[labels] = folded.get(labels, 0) + count
        return folded.items()

    def _plain_counters(self) -> Iterator[Metric]:
        yield counter(
            "body_bytes",
            "Bytes of bodies received from callers and sent to them.",
            ("direction",),
            [(("received",), self._received), (("sent",), self._sent)],
        )
        yield counter(
            "retries",
            "Requests that could not be sent at the first attempt, by the outcome of their retry.",
            ("outcome",),
            self._retries.items(),
        )
        for name, text, count in (
            ("replays", "Requests that were sent a second time.", self._replays),
            (
                "refused_not_replayed",
                "Requests whose token the bank refused and that were not sent again.",
                self._token_refused,
            ),
            (
                "policy_warnings",
                "Requests that access.mode: warn forwarded and enforce would refuse.",
                self._policy_warnings,
            ),
            (
                "requests_aborted",
                "Requests aborted because the caller left or the response broke off.",
                self._aborted,
            ),
        ):
            yield counter(name, text, (), [((), count)])

    def _histograms(self) -> Iterator[Metric]:
        yield histogram(
            "request_duration_seconds",
            "Time from a request's head to the last byte of its response.",
            ("route",),
            [((route,), times.total) for route, times in self._times.items()],
            self._exemplar,
        )
        for name, text, part in _DURATIONS:
            values = [((route,), part(times)) for route, times in self._times.items()]
            yield histogram(name, text, ("route",), values)

    def _exemplar(self, key: Labels, at: int) -> Exemplar | None:
        """Return the exemplar of a bucket: the last request in it."""
        times = self._times[key[0]]
        if not _EXEMPLAR_ID.fullmatch(times.ids[at]):
            return None
        ended = self._wall() - (self._timer() - times.ended_at[at])
        return Exemplar({_EXEMPLAR: times.ids[at]}, times.seconds[at], ended)


def _class_of(status: str) -> str:
    return "none" if status == "0" else f"{status[0]}xx"


def _sums(rows: Sequence[Sequence[int]]) -> Buckets:
    return tuple(map(sum, zip(*rows, strict=True)))
