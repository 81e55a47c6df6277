"""A request costs no more than it did: counted, so that a noisy machine says the same."""

import importlib.util

import pytest

from bench import budget
from bench.cost import KINDS, measure

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("uvloop") is None, reason="the counts are of a proxy on uvloop"
)


@pytest.mark.parametrize("kind", KINDS)
def test_a_request_is_within_its_budget(kind: str) -> None:
    """Calls and memory blocks of a forwarded request; if this fails on purpose, read the advice."""
    allowed, tolerance = budget.allowed()
    said = list(budget.complaints(kind, measure(kind), allowed[kind], tolerance))
    assert not said, "\n".join([*said, budget.ADVICE])
