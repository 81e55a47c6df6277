"""What holds for every test."""

import asyncio
import importlib
import importlib.util
import os
from collections.abc import Callable, Generator

import pytest
from hypothesis import settings

LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {"asyncio": asyncio.new_event_loop}
if importlib.util.find_spec("uvloop"):  # there is none for Windows and PyPy
    LOOPS["uvloop"] = importlib.import_module("uvloop").new_event_loop

# Where a run must show that everything works (.ci/run), a test that did not run is a failure.
NO_SKIP = "NO_SKIPPED_TESTS"

# A slow machine is no bug; and what CI finds today, it must find again tomorrow.
settings.register_profile("house", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("house")


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Run the tests of a module that says ``EVERY_LOOP = True`` on uvloop's loop too.

    The loops differ in what becomes of a connection that closes, and the proxy serves on uvloop
    where there is one.
    """
    every = getattr(getattr(item, "module", None), "EVERY_LOOP", False)
    return LOOPS if every else {"asyncio": asyncio.new_event_loop}


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Fail a test that was skipped, or that is expected to fail, where neither is allowed."""
    report = yield
    _refuse_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Fail a whole module that was skipped, where that is not allowed."""
    report = yield
    _refuse_skip(report)
    return report


def _refuse_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    if report.skipped and os.environ.get(NO_SKIP):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else "expected to fail"
        report.outcome = "failed"
        vars(report).pop("wasxfail", None)  # with it, pytest would show a failure and still exit 0
        report.longrepr = f"{reason} ({NO_SKIP} is set, so everything must run)"
