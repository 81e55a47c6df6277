"""Events of the process: plain values that nobody can change."""

import dataclasses

import pytest

from proxy.telemetry.events import Reloaded, ReloadFailed

FACTS = [Reloaded("admin"), ReloadFailed("admin", "the bank refused it")]


@pytest.mark.parametrize("event", FACTS, ids=lambda event: type(event).__name__)
def test_fact_cannot_be_changed(event: object) -> None:
    """What has happened has happened."""
    name = dataclasses.fields(event)[0].name  # type: ignore[arg-type]  # each is a dataclass
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(event, name, None)
