"""Broken set-ups: each breaks something, yields the expected cause, and repairs it.

The value of the ``yield`` is the doctor's result. The set-ups are in the ``broken_…`` modules.
"""

from collections.abc import AsyncGenerator, Callable
from dataclasses import replace

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


def fault_setup(name: str, fault: Fault, cause: str) -> None:
    """Register a set-up in which the bank has a fault that ends by itself."""

    async def steps(setup: DoctorSetup) -> Steps:
        add_fault(setup, replace(fault))
        _ = yield cause
        setup.bank.bank.faults.clear()

    steps.__name__ = name
    setup(steps)
