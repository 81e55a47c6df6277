"""The results of checks."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from proxy.cli.doctor.remedies import Remedy


class Level(StrEnum):
    """The severity of a result. A ``INFO`` needs no fix; ``SKIPPED`` could not be checked."""

    OK = "ok"
    INFO = "info"
    SKIPPED = "skipped"
    WARNING = "warning"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class CheckResult:
    """One result: the name of the check, its level, and a sentence.

    ``cause`` is the stable name of a remedy, ``fix`` what to do; both are empty without a problem.
    """

    check: str
    level: Level
    text: str
    cause: str = ""
    fix: str = ""

    @property
    def is_problem(self) -> bool:
        """Whether there is something to fix."""
        return bool(self.cause)


def ok(check: str, text: str) -> CheckResult:
    """Return a result without a problem."""
    return CheckResult(check, Level.OK, text)


def info(check: str, text: str) -> CheckResult:
    """Return information that needs no fix."""
    return CheckResult(check, Level.INFO, text)


def skipped(check: str, why: str) -> CheckResult:
    """Return the result of a check that was not made; ``why`` is a sentence."""
    return CheckResult(check, Level.SKIPPED, why)


def problem(check: str, remedy: Remedy, **values: object) -> CheckResult:
    """Return a problem; ``values`` fill in the texts of its remedy."""
    level = Level.WARNING if remedy.is_warning else Level.FAILED
    return CheckResult(
        check, level, remedy.text.format(**values), remedy.name, remedy.fix.format(**values)
    )


def has_failed(results: Iterable[CheckResult]) -> bool:
    """Whether anything keeps the proxy from doing its work."""
    return any(result.level is Level.FAILED for result in results)
