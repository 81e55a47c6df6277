"""A short soak test in every ``make test``, with shorter phases."""

from pathlib import Path

from tests.soak.promises import RequestOutcome
from tests.soak.report import as_json, as_table
from tests.soak.run import Plan, soak


async def test_all_outcomes_are_permitted(tmp_path: Path) -> None:
    """In ten seconds, without growth."""
    outcome = await soak(
        tmp_path, Plan(seconds=10, faulty_seconds=5, quiet_seconds=5, pace=0.7, rest=0.05)
    )
    assert outcome.broken == []
    fates = {result for _, result in outcome.outcomes.outcomes}
    assert {RequestOutcome.OK, RequestOutcome.HOSTILE_REFUSED, RequestOutcome.CALLER_LEFT} <= fates
    assert fates & {
        RequestOutcome.TOKEN,
        RequestOutcome.UPSTREAM,
        RequestOutcome.BANK,
        RequestOutcome.ABORTED,
    }, "there were no faults"
    assert outcome.reloads_succeeded > 0
    assert outcome.payments > 0
    assert '"kept": true' in as_json(outcome)
    assert "| promises broken | 0 |" in as_table(outcome)
