"""A request costs no more than it did: counted, so that a noisy machine says the same."""

import importlib.util

import pytest

from bench import budget, cost
from bench.cost import KINDS, counted, measure
from tests.support import needs

pytestmark = needs.skip_if(
    importlib.util.find_spec("uvloop") is None,
    "counts a proxy on uvloop",
    "make test with CPython on Linux or macOS",
)


@pytest.mark.parametrize("kind", KINDS)
def test_a_request_is_within_its_budget(kind: str) -> None:
    """Calls and memory blocks of a forwarded request; if this fails on purpose, read the advice."""
    allowed, tolerance = budget.allowed()
    said = list(budget.complaints(kind, measure(kind), allowed[kind], tolerance))
    assert not said, "\n".join([*said, budget.ADVICE])


def called(kind: str) -> set[str]:
    """Return the names of all functions that a request calls, not those of what runs beside it."""
    with counted(kind) as proxy:
        return {name for name, number in proxy.count("names").items() if number > 0.5}


def test_spans_cost_nothing_where_nobody_collects_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """A request then calls what it calls with a collector, but for the span's own functions."""
    request, settings = KINDS["get"]
    traced = settings | {"tracing": {"endpoint": "http://127.0.0.1:1/v1/traces"}}
    monkeypatch.setattr(cost, "KINDS", {"get": (request, settings), "traced": (request, traced)})
    off, on = called("get"), called("traced")
    assert "Tracing.request" in on
    assert not [name for name in off if "Tracing" in name or "span" in name.lower()]
    assert off <= on
