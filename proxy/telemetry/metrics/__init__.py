"""The only package that knows Prometheus: facts in, series out; docs/metrics.md has them all.

A request or a fact costs a few additions to plain numbers; series are made when somebody asks.

    requests.py    requests, counted and timed
    tokens.py      token requests, and the tokens in use
    token_store.py the fleet's store, and how tokens were come by
    reloads.py     reloads, rotated secrets, certificates
    callbacks.py   numbers that are read when somebody asks
    histogram.py   observations by bucket
    totals.py      what was counted of requests, in a few numbers
    lag.py         how late the event loop is
    registry.py    all of them, and their text in the two formats
"""

from proxy.telemetry.metrics.registry import Metrics

__all__ = ["Metrics"]
