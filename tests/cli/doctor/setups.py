"""Broken set-ups: each breaks something, yields the expected cause, and repairs it.

The value of the ``yield`` is the doctor's result. The set-ups are in the ``broken_…`` modules.
"""

from collections.abc import AsyncGenerator, Callable

from proxy.cli.doctor.results import CheckResult
from proxy.sandbox import Fault
from tests.cli.doctor.healthy_setup import DoctorSetup

Steps = AsyncGenerator[str, CheckResult]
Setup = Callable[[DoctorSetup], Steps]

SETUPS: list[Setup] = []


def setup(steps: Setup) -> Setup:
    """Register a set-up."""
    SETUPS.append(steps)
    return steps


def add_fault(setup: DoctorSetup, fault: Fault) -> None:
    """Add a fault to the bank."""
    setup.bank.bank.faults.append(fault)
