"""Requests: counters, durations and exemplars."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.samples import Exemplar

from proxy.errors import ErrorKind, ProxyError, Source, kinds
from proxy.forwarding.record import RequestRecord
from proxy.forwarding.routing import METHODS
from proxy.telemetry.metrics import Metrics
from proxy.telemetry.metrics.histogram import BUCKETS
from proxy.telemetry.metrics.requests import LONGEST_ID, STATUSES, RequestCollector
from tests.telemetry.metrics.reading import OPENMETRICS, buckets, families, record, value


def collector(*records: RequestRecord) -> RequestCollector:
    """Return a collector of these, at 20 in loop seconds and 1,800,000,020 in Unix time."""
    made = RequestCollector(lambda: 20.0, lambda: 1_800_000_020.0)
    for each in records:
        made.add(each)
    return made


# Counters.


def test_request_is_counted_once() -> None:
    """By method, route, status and source; and by institution."""
    counted = collector(record(), record(), record(institution="00017"))
    labels = {"method": "GET", "route": "v2", "status": "200", "error_source": "none"}
    assert value(counted, "requests_total", **labels) == 3
    labels = {"route": "v2", "status_class": "2xx", "error_source": "none"}
    assert value(counted, "institution_requests_total", institution="00016", **labels) == 2
    assert value(counted, "institution_requests_total", institution="00017", **labels) == 1


def test_request_without_an_institution() -> None:
    """Refused early; without a status it has no class."""
    refused = {"institution": "", "route": "none", "source": Source.CALLER, "reason": "method"}
    counted = collector(record(status=405, **refused), record(status=0, is_aborted=True))
    labels = {"route": "none", "status_class": "4xx", "error_source": "caller"}
    assert value(counted, "institution_requests_total", institution="none", **labels) == 1
    labels = {"route": "v2", "status_class": "none", "error_source": "none"}
    assert value(counted, "institution_requests_total", institution="00016", **labels) == 1


def test_listeners_are_labels() -> None:
    """By their configured names."""
    counted = collector(
        record(), record(listener="payroll"), record(listener="payroll", status=404)
    )
    labels = {"status_class": "2xx", "error_source": "none", "application": "none"}
    assert value(counted, "listener_requests_total", listener="main", **labels) == 1
    assert value(counted, "listener_requests_total", listener="payroll", **labels) == 1
    labels["status_class"] = "4xx"
    assert value(counted, "listener_requests_total", listener="payroll", **labels) == 1


def test_applications_are_labels() -> None:
    """By the certificate's allowed name."""
    counted = collector(record(), record(application="payroll.test"))
    labels = {"listener": "main", "status_class": "2xx", "error_source": "none"}
    for name in ("none", "payroll.test"):
        assert value(counted, "listener_requests_total", application=name, **labels) == 1


@given(st.lists(st.text(max_size=20), max_size=50))
def test_methods_are_bounded(methods: list[str]) -> None:
    """At most eight series."""
    counted = collector(*(record(method=method) for method in methods))
    samples = families(counted)["candescent_proxy_requests"].samples
    assert {sample.labels["method"] for sample in samples} <= METHODS | {"other"}
    assert sum(sample.value for sample in samples) == len(methods)


def test_statuses_are_bounded() -> None:
    """Registered codes, otherwise their class."""
    assert [STATUSES[status] for status in (0, 200, 418, 503)] == ["0", "200", "418", "503"]
    assert [STATUSES[status] for status in (299, 499, 599)] == ["2xx", "4xx", "5xx"]
    assert len(set(STATUSES)) < 70


def test_errors_by_reason() -> None:
    """By source and name."""
    broken: dict[str, Any] = {"source": Source.UPSTREAM, "status": 502}
    reasons = ("upstream-tls", "upstream-connect-timeout", "upstream-tls")
    counted = collector(*(record(reason=reason, **broken) for reason in reasons), record())
    tls = {"error_source": "upstream", "reason": "upstream-tls"}
    assert value(counted, "errors_total", **tls) == 2
    assert len(families(counted)["candescent_proxy_errors"].samples) == 2


@pytest.mark.parametrize(
    ("kind", "shed"),
    [
        (kinds.OVERLOADED, "in_flight"),
        (kinds.TOO_MANY_CONNECTIONS, "connections"),
        (kinds.UPSTREAM_BUSY, "upstream_busy"),
        (kinds.OUT_OF_FILES, "out_of_files"),
        (kinds.INTERNAL, None),
    ],
)
def test_shed_requests_by_limit(kind: ErrorKind, shed: str | None) -> None:
    """Each limit has a series from the start."""
    refused = record()
    refused.note(ProxyError(kind))
    counted = collector(refused)
    for reason in ("in_flight", "connections", "upstream_busy", "out_of_files"):
        assert value(counted, "requests_shed_total", reason=reason) == (reason == shed)


def test_bytes_replays_aborts_and_warnings() -> None:
    """Body sizes in each direction, and counters."""
    counted = collector(record(replays=1), record(is_aborted=True), record(has_policy_warning=True))
    assert value(counted, "body_bytes_total", direction="received") == 15
    assert value(counted, "body_bytes_total", direction="sent") == 2100
    for name in ("replays", "requests_aborted", "policy_warnings"):
        assert value(counted, f"{name}_total") == 1


def test_refusals_without_replay_are_counted() -> None:
    """Separately from replays."""
    counted = collector(record(is_token_refused=True), record(is_token_refused=True, replays=1))
    assert value(counted, "refused_not_replayed_total") == 1
    assert value(counted, "replays_total") == 1


# Durations.


def test_buckets_are_cumulative() -> None:
    """The sum is in seconds."""
    took = (0.0005, 0.001, 0.02, 3, 200)
    counted = collector(*(record(started_at=0, finished_at=seconds) for seconds in took))
    found = buckets(counted, "request_duration_seconds")
    assert [float(bound) for bound in found] == [*BUCKETS, float("inf")]
    assert (found["0.0005"], found["0.001"], found["0.025"]) == (1, 2, 3)
    assert (found["120.0"], found["+Inf"]) == (4, 5)
    total = value(counted, "request_duration_seconds_sum", route="v2")
    assert total == pytest.approx(203.0215)


def test_proxy_and_bank_time_are_separate() -> None:
    """Of 20 ms, 15 were the bank's."""
    counted = collector(record())
    assert value(counted, "request_proxy_duration_seconds_sum", route="v2") == pytest.approx(0.005)
    assert value(counted, "upstream_duration_seconds_sum", route="v2") == pytest.approx(0.015)


def test_waits_are_observed_if_any() -> None:
    """Not with a token and a connection at hand."""
    counted = collector(record(), record(token_wait=0.001), record(connection_wait=0.0015))
    assert value(counted, "token_wait_seconds_count", route="v2") == 1
    assert value(counted, "connection_wait_seconds_count", route="v2") == 1
    assert value(counted, "connection_wait_seconds_sum", route="v2") == pytest.approx(0.0015)


@pytest.mark.parametrize("changes", [{"replays": 1}, {"responded_at": 0.0, "status": 502}])
def test_unattributable_time_is_left_out(changes: dict[str, Any]) -> None:
    """A replayed request, or one without a response, has a total only."""
    counted = collector(record(**changes))
    assert value(counted, "request_proxy_duration_seconds_count", route="v2") == 0
    assert value(counted, "upstream_duration_seconds_count", route="v2") == 0
    assert value(counted, "request_duration_seconds_count", route="v2") == 1


# Exemplars.


def exemplars(*records: RequestRecord) -> dict[str, Exemplar]:
    """Return the exemplars of the total duration by bound, as parsed by a scraper."""
    metrics = Metrics()
    for each in records:
        metrics.request(each)
    family = families(metrics, OPENMETRICS)["candescent_proxy_request_duration_seconds"]
    return {s.labels["le"]: s.exemplar for s in family.samples if s.exemplar is not None}


def test_bucket_has_its_last_exemplar() -> None:
    """The transaction of the last observation."""
    slow = record(transaction_id="slow", finished_at=13)
    found = exemplars(record(transaction_id="first"), record(transaction_id="last"), slow)
    shown = {bound: (each.labels, each.value) for bound, each in found.items()}
    assert shown == {
        "0.025": ({"transactionId": "last"}, pytest.approx(0.02)),
        "5.0": ({"transactionId": "slow"}, 3),
    }


def test_exemplar_has_its_time() -> None:
    """The end of the request, in Unix time."""
    family = next(
        family
        for family in collector(record(finished_at=10.5)).collect()
        if family.name == "candescent_proxy_request_duration_seconds"
    )
    found = [sample.exemplar for sample in family.samples if sample.exemplar is not None]
    assert [each.timestamp for each in found] == [1_800_000_010.5]


@pytest.mark.parametrize("name", ["x" * LONGEST_ID, "350ad2db-7117-413e", "a.b_c~d:e/f+g=h@i"])
def test_usual_ids_are_exemplars(name: str) -> None:
    """UUIDs, and URL characters up to the limit."""
    (found,) = exemplars(record(transaction_id=name)).values()
    assert found.labels == {"transactionId": name}


@given(st.text(st.characters(max_codepoint=126), max_size=2 * LONGEST_ID))
def test_unusual_id_is_no_exemplar(name: str) -> None:
    """Quotes, line ends and long ids."""
    for found in exemplars(record(transaction_id=name)).values():
        assert found.labels == {"transactionId": name}
        assert len(name) <= LONGEST_ID


@pytest.mark.parametrize("name", ["x" * (LONGEST_ID + 1), "", '"', "a\\", "a b", "a\n# EOF"])
def test_long_exemplar_is_left_out(name: str) -> None:
    """OpenMetrics permits 128 characters."""
    assert exemplars(record(transaction_id=name)) == {}


def test_classic_format_has_no_exemplars() -> None:
    """It does not define them."""
    metrics = Metrics()
    metrics.request(record())
    assert b"t-1" not in metrics.exposition("")[0]
