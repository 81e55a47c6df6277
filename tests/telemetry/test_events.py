"""Events of the process: plain values that nobody can change."""

import dataclasses

import pytest

from proxy.telemetry.events import Reloaded, ReloadFailed

FACTS = [Reloaded("admin"), ReloadFailed("admin", "the bank refused it")]


@pytest.mark.parametrize("fact", FACTS, ids=lambda fact: type(fact).__name__)
def test_fact_cannot_be_changed(fact: object) -> None:
    """What has happened has happened."""
    name = dataclasses.fields(fact)[0].name  # type: ignore[arg-type]  # each is a dataclass
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(fact, name, None)
