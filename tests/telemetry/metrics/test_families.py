"""Metric families: values under one prefix, with labels by position."""

from prometheus_client.samples import Exemplar

from proxy.telemetry.metrics.families import PREFIX, counter, gauge, histogram
from proxy.telemetry.metrics.histogram import Histogram


def test_counter_and_gauge() -> None:
    """Only a counter ends in _total; labels are in order."""
    counted = counter("things", "Things.", ("kind", "size"), [(("a", "big"), 2)])
    assert [(s.name, s.labels, s.value) for s in counted.samples] == [
        (f"{PREFIX}things_total", {"kind": "a", "size": "big"}, 2)
    ]
    read = gauge("level", "Level.", (), [((), 3)])
    assert [(s.name, s.labels, s.value) for s in read.samples] == [(f"{PREFIX}level", {}, 3)]


def test_histogram_has_sum_and_count() -> None:
    """Every bucket, count and sum; exemplars are optional."""
    held = Histogram((1.0,))
    held.observe(0.5)
    shown = Exemplar({"id": "x"}, 0.5)
    made = histogram("seconds", "S.", ("a",), [(("b",), held)], lambda _, at: None if at else shown)
    assert [(s.name.removeprefix(PREFIX), s.value, s.exemplar) for s in made.samples] == [
        ("seconds_bucket", 1, shown),
        ("seconds_bucket", 1, None),
        ("seconds_count", 1, None),
        ("seconds_sum", 0.5, None),
    ]


def test_empty_family() -> None:
    """It has its name, type and help text."""
    empty = counter("things", "Things.", ("kind",), [])
    assert (empty.name, empty.type, empty.samples) == (f"{PREFIX}things", "counter", [])
