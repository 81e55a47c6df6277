"""Totals for plots: differences and quantiles."""

from bisect import bisect_left

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import Source
from proxy.forwarding.record import RequestRecord
from proxy.telemetry.metrics.histogram import BUCKETS
from proxy.telemetry.metrics.requests import RequestCollector
from proxy.telemetry.metrics.totals import FAILED, Totals, quantile


def counts(times: list[float]) -> list[int]:
    """Sort durations into buckets."""
    found = [0] * (len(BUCKETS) + 1)
    for time in times:
        found[bisect_left(BUCKETS, time)] += 1
    return found


def record(status: int, source: Source, seconds: float = 0.004) -> RequestRecord:
    """Return a finished request."""
    made = RequestRecord("GET", b"/v1/accounts", 100.0)
    made.status, made.source, made.finished_at = status, source, 100.0 + seconds
    return made


def test_requests_by_source_of_error() -> None:
    """A 5xx of the bank is its failure, a 404 is none."""
    collector = RequestCollector()
    for status, source, times in (
        *((200, Source.NONE, 5), (404, Source.NONE, 3), (503, Source.NONE, 2)),
        *((403, Source.CALLER, 1), (503, Source.TOKEN, 4), (502, Source.UPSTREAM, 6)),
        (503, Source.PROXY, 7),
    ):
        for _ in range(times):
            collector.add(record(status, source))
    found = collector.totals()
    assert found.requests == 28
    assert found.failed == dict(zip(FAILED, (1, 4, 6, 7, 2), strict=True))
    assert sum(found.total_buckets) == 28


def test_requests_by_institution() -> None:
    """With the bank's responses; a caller that has left counts as neither."""
    collector = RequestCollector()
    for status, source, institution in (
        *(
            (200, Source.NONE, "00016"),
            (503, Source.NONE, "00016"),
            (502, Source.UPSTREAM, "00145"),
        ),
        *((0, Source.NONE, "00016"), (405, Source.CALLER, "")),
    ):
        made = record(status, source)
        made.institution = institution
        collector.add(made)
    found = collector.totals()
    assert found.institutions == {"00016": 2, "00145": 1, "": 1}
    assert found.bank_responses == 2
    assert found.since(found).institutions == {}


def test_no_requests() -> None:
    """All totals are zero."""
    assert RequestCollector().totals() == Totals()


def test_routes_are_summed() -> None:
    """The proxy's share is separate."""
    collector = RequestCollector()
    for route in ("v1", "v2"):
        made = record(200, Source.NONE)
        made.route, made.sent_at, made.responded_at = route, 100.001, 100.003
        collector.add(made)
    assert (sum(collector.totals().total_buckets), sum(collector.totals().proxy_buckets)) == (2, 2)


def test_difference() -> None:
    """Between two totals; the first may be empty."""
    early = Totals(3, dict.fromkeys(FAILED, 1), (1, 2), (3, 0))
    late = Totals(10, dict.fromkeys(FAILED, 2), (5, 2), (3, 1))
    assert late.since(early) == Totals(7, dict.fromkeys(FAILED, 1), (4, 0), (0, 1), {})
    assert late.since(Totals()) == late


@given(st.lists(st.floats(0.0001, 100.0), min_size=1), st.sampled_from([0.5, 0.9, 0.99, 1.0]))
def test_quantile_error_is_at_most_a_bucket(times: list[float], share: float) -> None:
    """Any durations."""
    found = quantile(BUCKETS, counts(times), share)
    assert found is not None
    real = sorted(times)[max(0, -(-len(times) * int(share * 100) // 100) - 1)]
    assert bisect_left(BUCKETS, found) <= bisect_left(BUCKETS, real) + 1
    low = BUCKETS[bisect_left(BUCKETS, real) - 1] if real > BUCKETS[0] else 0.0
    assert found >= low


@pytest.mark.parametrize(
    ("buckets", "share", "seconds"),
    [
        ((), 0.5, None),
        ((0, 0, 0), 0.5, None),
        ((4, 0, 0), 0.5, 0.5),
        ((0, 4, 0), 0.5, 1.5),
        ((2, 2, 0), 0.5, 1.0),
        ((0, 0, 9), 0.5, 2.0),
    ],
)
def test_quantile(buckets: tuple[int, ...], share: float, seconds: float | None) -> None:
    """Linear within a bucket; unknown above the last bound."""
    assert quantile((1.0, 2.0), buckets, share) == seconds
