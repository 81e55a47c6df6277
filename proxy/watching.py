"""What the metrics read when somebody asks: numbers of the parts that run, over every core."""

from collections.abc import Callable, Sequence

from proxy import clock
from proxy.callers import Server
from proxy.core import Core
from proxy.metrics import Metrics


def watch(
    metrics: Metrics,
    server: Server,
    cores: Callable[[], Sequence[Core]],
    *,
    opened_before: Callable[[], int],
    is_ready: Callable[[], bool],
) -> None:
    """Tell ``metrics`` where to look.

    ``cores`` returns the running one, then those that still finish what they began; of cores
    that have ended, ``opened_before`` says how many connections they opened.
    """
    metrics.watch_tokens(
        lambda: _running(cores).tokens.entries(),  # noqa: PLW0108 - a reload puts another there
        clock.now,
    )
    gauge, counter = metrics.watched.gauge, metrics.watched.counter
    gauge(
        "requests_in_flight",
        "Requests being served.",
        lambda: sum(core.forwarder.in_flight for core in cores()),
    )
    gauge(
        "requests_in_flight_limit",
        "Requests that may be served at once.",
        lambda: _running(cores).config.limits.max_in_flight,
    )
    gauge("caller_connections", "Callers that are connected.", lambda: server.connections)
    gauge(
        "caller_connections_limit",
        "Callers that may be connected at once.",
        lambda: _running(cores).config.limits.max_connections,
    )
    counter(
        "caller_connections_refused",
        "Connections of callers ended because there were too many.",
        lambda: server.refused,
    )
    gauge(
        "upstream_connections",
        "Open connections to the bank, with those being made.",
        lambda: sum(core.pool.open for core in cores()),
    )
    gauge(
        "upstream_connections_idle",
        "Those of them unused.",
        lambda: sum(core.pool.idle for core in cores()),
    )
    gauge(
        "upstream_connections_limit",
        "Connections to the bank that may be open at once.",
        lambda: _running(cores).config.upstream.max_connections,
    )
    counter(
        "upstream_connections_opened",
        "Connections made to the bank.",
        lambda: opened_before() + sum(core.pool.opened for core in cores()),
    )
    gauge(
        "requests_waiting_for_connection",
        "Requests that wait for a connection to the bank to come free.",
        lambda: sum(core.pool.waiting for core in cores()),
    )
    gauge("ready", "1 when /readyz says ready.", is_ready)


def _running(cores: Callable[[], Sequence[Core]]) -> Core:
    return cores()[0]
