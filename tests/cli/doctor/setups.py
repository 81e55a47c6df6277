"""Broken set-ups: each breaks something, yields the cause that it should be told, and cures it.

What comes back from the ``yield`` is the finding, whose cure is then done. The set-ups stand in the
``broken_…`` modules.
"""

from collections.abc import AsyncGenerator, Callable

from proxy.cli.doctor.results import CheckResult
from proxy.sandbox import Fault
from tests.cli.doctor.healthy_setup import DoctorSetup

Steps = AsyncGenerator[str, CheckResult]
Setup = Callable[[DoctorSetup], Steps]

SETUPS: list[Setup] = []


def setup(steps: Setup) -> Setup:
    """Add it to those that are tried."""
    SETUPS.append(steps)
    return steps


def add_fault(setup: DoctorSetup, fault: Fault) -> None:
    """Let something go wrong at the bank."""
    setup.bank.bank.faults.append(fault)
