"""Broken set-ups: each breaks something, yields the cause that it should be told, and cures it.

What comes back from the ``yield`` is the finding, whose cure is then done. The set-ups stand in the
``broken_…`` modules.
"""

from collections.abc import AsyncGenerator, Callable

from proxy.cli.doctor.results import CheckResult
from proxy.sandbox import Fault
from tests.cli.doctor.healthy_setup import World

Steps = AsyncGenerator[str, CheckResult]
Setup = Callable[[World], Steps]

SETUPS: list[Setup] = []


def setup(steps: Setup) -> Setup:
    """Add it to those that are tried."""
    SETUPS.append(steps)
    return steps


def spoil(world: World, fault: Fault) -> None:
    """Let something go wrong at the bank."""
    world.bank.bank.faults.append(fault)
