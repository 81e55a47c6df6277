"""Prometheus metrics, from events and request records; docs/metrics.md describes them.

A request or an event costs a few additions; metric families are built at each scrape. No other
package imports prometheus_client.

    requests.py    counts and durations of requests
    tokens.py      token calls, and the tokens in use
    connections.py DNS look-ups, and connections to the bank
    token_store.py operations on the store, and sources of tokens
    reloads.py     reloads, rotated secrets, certificates
    callbacks.py   metrics that are read from elsewhere at a scrape
    families.py    builds metric families
    histogram.py   a histogram as plain numbers
    totals.py      totals of requests, for the status page
    lag.py         lag of the event loop
    otlp.py        sends them to an OpenTelemetry collector
    registry.py    all collectors, and the exposition in both formats
"""

from proxy.telemetry.metrics.registry import Metrics

__all__ = ["Metrics"]
