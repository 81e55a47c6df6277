"""A short soak, in every ``make test``: the same world, load and weather, at a quicker pace."""

from pathlib import Path

import pytest

from tests.soak.promises import Fate
from tests.soak.report import as_json, as_table
from tests.soak.run import Plan, soak


@pytest.mark.timeout(180)
async def test_promises_are_kept_in_all_weathers(tmp_path: Path) -> None:
    """Ten seconds and thousands of requests: each has a fate that was promised, nothing grows."""
    outcome = await soak(tmp_path, Plan(seconds=10, storm=5, calm=5, pace=0.7, rest=0.05))
    assert outcome.broken == []
    fates = {fate for _, fate in outcome.book.fates}
    assert outcome.book.total > 500
    assert outcome.book.calm[Fate.WELL] > 100
    assert {Fate.WELL, Fate.OUTSIDE, Fate.GONE} <= fates
    assert fates & {Fate.TOKEN, Fate.UPSTREAM, Fate.BANK, Fate.CUT}, "there was no weather"
    assert outcome.taken > 2
    assert outcome.payments > 20
    assert '"kept": true' in as_json(outcome)
    assert "| promises broken | 0 |" in as_table(outcome)
