"""Gauges and counters that are read from the running components at each scrape."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar

from proxy.admin.health import NO_REASON, STATES, Condition
from proxy.runtime import clock
from proxy.runtime.core import Core
from proxy.runtime.listeners import Listeners
from proxy.server.limits import CallerLimits
from proxy.server.memory import MemoryBudget
from proxy.server.refusals import Refusals
from proxy.telemetry.metrics import Metrics
from proxy.telemetry.metrics.families import Values
from proxy.upstream.pool import Pool

if TYPE_CHECKING:
    from proxy.runtime.build_fleet import Fleet

T = TypeVar("T")

_BY_ORIGIN = ("origin",)
"""The label of pools: the base URL, of which there are as many as the configuration has."""


def register(
    metrics: Metrics,
    listeners: Listeners,
    cores: Callable[[], Sequence[Core]],
    *,
    admin_refusals: Refusals,
    memory: MemoryBudget,
    opened_before: Callable[[], Mapping[str, int]],
    is_ready: Callable[[], bool],
    dropped_lines: Callable[[], int],
    condition: Callable[[], Condition],
) -> None:
    """Register the callbacks of ``metrics``.

    ``cores`` returns the running core, then the retired ones; ``opened_before`` returns the number
    of connections that closed cores opened, by base URL.
    """
    metrics.register_tokens(
        lambda: _running(cores).entries(),
        clock.now,
    )
    metrics.store.is_available = lambda: _fleet(cores, lambda fleet: fleet.is_available)
    metrics.store.undecryptable_count = lambda: (
        _fleet(cores, lambda fleet: fleet.undecryptable_count) or 0
    )
    gauge, counter = metrics.callbacks.gauge, metrics.callbacks.counter
    gauge(
        "requests_in_flight",
        "Requests being served.",
        lambda: sum(core.in_flight for core in cores()),
    )
    gauge(
        "requests_in_flight_limit",
        "Limit of requests served at the same time.",
        lambda: _limits(cores).max_in_flight * listeners.count,
    )
    gauge("caller_connections", "Open connections of callers.", lambda: listeners.connection_count)
    gauge(
        "caller_connections_limit",
        "Limit of open connections of callers.",
        lambda: _limits(cores).max_connections * listeners.count,
    )
    metrics.callbacks.counters(
        "caller_connections_refused",
        "Connections of callers closed because a limit was reached.",
        ("listener", "reason"),
        lambda: [
            *listeners.refused_connections(),
            *((("admin", reason), count) for reason, count in admin_refusals.counts.items()),
        ],
    )
    gauge("caller_memory_bytes", "Memory that callers' input holds.", memory.held)
    gauge("caller_memory_limit_bytes", "Limit of that memory.", lambda: memory.limit)
    pools = metrics.callbacks.gauges
    pools(
        "upstream_connections",
        "Connections to the bank that are open or being opened.",
        _BY_ORIGIN,
        lambda: _pools(cores(), lambda pool: pool.open_count),
    )
    pools(
        "upstream_connections_idle",
        "Unused open connections to the bank.",
        _BY_ORIGIN,
        lambda: _pools(cores(), lambda pool: pool.idle_count),
    )
    pools(
        "upstream_connections_limit",
        "Limit of open connections to the bank.",
        _BY_ORIGIN,
        lambda: _pools(cores()[:1], lambda pool: pool.limit),
    )
    metrics.callbacks.counters(
        "upstream_connections_opened",
        "Connections opened to the bank.",
        _BY_ORIGIN,
        lambda: _pools(cores(), lambda pool: pool.opened_count, opened_before()),
    )
    pools(
        "requests_waiting_for_connection",
        "Requests that wait for a connection to the bank.",
        _BY_ORIGIN,
        lambda: _pools(cores(), lambda pool: pool.waiting_count),
    )
    counter(
        "log_lines_dropped",
        "Log lines that were not written: the reader was too slow, or gone, or the disk full.",
        dropped_lines,
    )
    gauge("ready", "1 when /readyz says ready.", is_ready)
    metrics.callbacks.gauges(
        "health",
        "1 for the state of the proxy, with its reason; 0 for the other states.",
        ("state", "reason"),
        lambda: _health(condition()),
    )


def _health(now: Condition) -> Values:
    """Return a series for each state, so that there are as many whatever the reason."""
    for state in STATES:
        yield (state, now.reason if state == now.state else NO_REASON), float(state == now.state)


def _running(cores: Callable[[], Sequence[Core]]) -> Core:
    return cores()[0]


def _pools(
    cores: Sequence[Core], read: Callable[[Pool], int], before: Mapping[str, int] | None = None
) -> list[tuple[tuple[str, ...], float]]:
    """Return the sums of a value of pools by origin; ``before`` is added."""
    sums = dict(before or {})
    for origin in (origin for core in cores for origin in core.origins):
        name = origin.config.base_url
        sums[name] = sums.get(name, 0) + read(origin.pool)
    return [((name,), value) for name, value in sums.items()]


def _fleet(cores: Callable[[], Sequence[Core]], read: Callable[["Fleet"], T]) -> T | None:
    """Return a value of the running core's fleet, None without a store."""
    fleet = _running(cores).fleet
    return None if fleet is None else read(fleet)


def _limits(cores: Callable[[], Sequence[Core]]) -> CallerLimits:
    return _running(cores).config.limits
