"""Callback collectors: values are read at collection."""

from proxy.telemetry.metrics.callbacks import CallbackCollector
from tests.telemetry.metrics.reading import families, value


def test_value_is_read_at_collection() -> None:
    """Of gauges and counters."""
    watched, seen = CallbackCollector(), [1]
    watched.gauge("requests_in_flight", "Requests being served.", lambda: seen[0])
    watched.counter("upstream_connections_opened", "Connections made.", lambda: seen[0] * 10)
    assert value(watched, "requests_in_flight") == 1
    seen[0] = 2
    assert value(watched, "requests_in_flight") == 2
    assert value(watched, "upstream_connections_opened_total") == 20


def test_types() -> None:
    """Growing values are counters."""
    watched = CallbackCollector()
    watched.gauge("ready", "Whether it is.", lambda: True)
    watched.counter("opened", "How many.", lambda: 3)
    types = {name: family.type for name, family in families(watched).items()}
    assert types == {"candescent_proxy_ready": "gauge", "candescent_proxy_opened": "counter"}


def test_labels() -> None:
    """Of gauges with several series."""
    watched = CallbackCollector()
    watched.gauges("health", "How it is.", ("state",), lambda: [(("ok",), 1), (("failing",), 0)])
    assert value(watched, "health", state="ok") == 1
    assert value(watched, "health", state="failing") == 0
