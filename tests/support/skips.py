"""A pytest plugin: skipped tests fail where everything must run, and are listed with a remedy."""

import os
from collections import Counter
from collections.abc import Generator, Iterable, Mapping, Sequence

import pytest

from tests.support.needs import REMEDY

# Where a run must show that everything works (.ci/run), a test that did not run is a failure.
NO_SKIP = "NO_SKIPPED_TESTS"

NOT_INCLUDED = {
    "make test-compiled": "the suite on compiled modules",
    "make test-all": "the suite on every installed Python",
    "make test-future": "the suite with the clock a year and five years ahead",
    "make soak ARGS='--minutes 10'": "minutes of load with faults; the suite has seconds",
    "make fuzz ARGS='--minutes 5'": "minutes of random input; the suite has seconds",
    "make audit": "known vulnerabilities of the dependencies",
}
"""What ``make test`` leaves to other commands."""

Row = tuple[str, str, str]


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
        report.outcome = "failed"
        vars(report).pop("wasxfail", None)  # with it, pytest would show a failure and still exit 0
        report.longrepr = f"{_reason(report)} ({NO_SKIP} is set, so everything must run)"


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Print what did not run, why, and the command that runs it."""
    stats: Mapping[str, Sequence[object]] = terminalreporter.stats
    rows = list(_skipped([*stats.get("skipped", ()), *stats.get("xfailed", ())]))
    if config.args_source is pytest.Config.ArgsSource.TESTPATHS:
        rows += [(what, "not part of this run", command) for command, what in NOT_INCLUDED.items()]
    if rows:
        terminalreporter.section("not run")
        for line in _table([("what", "why", "command that runs it"), *rows]):
            terminalreporter.write_line(line)


def _skipped(reports: Iterable[object]) -> Iterable[Row]:
    """Yield one row for each module and reason."""
    found = Counter(
        (report.nodeid.partition("::")[0], _reason(report))
        for report in reports
        if isinstance(report, pytest.TestReport | pytest.CollectReport)
    )
    for (module, reason), count in sorted(found.items()):
        why, _, remedy = reason.partition(REMEDY)
        yield f"{module} ({count})", why, remedy


def _reason(report: pytest.TestReport | pytest.CollectReport) -> str:
    if isinstance(report.longrepr, tuple):
        return report.longrepr[2].removeprefix("Skipped: ")
    return "expected to fail"


def _table(rows: Sequence[Row]) -> Iterable[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = zip(row, widths, strict=True)
        yield "  ".join(cell.ljust(width) for cell, width in cells).rstrip()
