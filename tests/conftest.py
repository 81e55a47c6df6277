"""What holds for every test."""

import os
from collections.abc import Generator

import pytest
from hypothesis import settings

# Where a run must show that everything works (.ci/run), a test that did not run is a failure.
NO_SKIP = "CANDESCENT_TESTS_NO_SKIP"

# A slow machine is no bug; and what CI finds today, it must find again tomorrow.
settings.register_profile("house", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("house")


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
