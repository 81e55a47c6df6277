"""Events of the process are immutable."""

import dataclasses

import pytest

from proxy.telemetry.events import Reloaded, ReloadFailed

FACTS = [Reloaded("admin"), ReloadFailed("admin", "the bank refused it")]


@pytest.mark.parametrize("event", FACTS, ids=lambda event: type(event).__name__)
def test_event_is_immutable(event: object) -> None:
    """Assignment raises."""
    name = dataclasses.fields(event)[0].name  # type: ignore[arg-type]  # each is a dataclass
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(event, name, None)
