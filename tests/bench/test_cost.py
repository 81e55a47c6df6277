"""The cost of a request in calls, which does not depend on load."""

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
def test_request_is_within_its_budget(kind: str) -> None:
    """Calls and memory blocks; read the advice if this fails on purpose."""
    allowed, tolerance = budget.allowed()
    said = list(budget.complaints(kind, measure(kind), allowed[kind], tolerance))
    assert not said, "\n".join([*said, budget.ADVICE])


def called(kind: str) -> set[str]:
    """Return the names of all functions that a request calls."""
    with counted(kind) as proxy:
        return {name for name, number in proxy.count("names").items() if number > 0.5}


def test_tracing_costs_nothing_when_disabled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the functions of spans differ."""
    request, settings = KINDS["get"]
    traced = settings | {"tracing": {"endpoint": "http://127.0.0.1:1/v1/traces"}}
    monkeypatch.setattr(cost, "KINDS", {"get": (request, settings), "traced": (request, traced)})
    off, on = called("get"), called("traced")
    assert "Tracing.request" in on
    assert not [name for name in off if "Tracing" in name or "span" in name.lower()]
    assert off <= on
