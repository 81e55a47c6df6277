"""Watched numbers: what is, not what was when somebody began to watch."""

from proxy.telemetry.metrics.callbacks import CallbackCollector
from tests.telemetry.metrics.reading import families, value


def test_number_is_read_when_asked() -> None:
    """A gauge and a counter follow what they watch."""
    watched, seen = CallbackCollector(), [1]
    watched.gauge("requests_in_flight", "Requests being served.", lambda: seen[0])
    watched.counter("upstream_connections_opened", "Connections made.", lambda: seen[0] * 10)
    assert value(watched, "requests_in_flight") == 1
    seen[0] = 2
    assert value(watched, "requests_in_flight") == 2
    assert value(watched, "upstream_connections_opened_total") == 20


def test_types() -> None:
    """What only grows is a counter, so that rate() is meant for it."""
    watched = CallbackCollector()
    watched.gauge("ready", "Whether it is.", lambda: True)
    watched.counter("opened", "How many.", lambda: 3)
    types = {name: family.type for name, family in families(watched).items()}
    assert types == {"candescent_proxy_ready": "gauge", "candescent_proxy_opened": "counter"}
