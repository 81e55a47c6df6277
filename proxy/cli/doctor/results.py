"""PURE: what a check has found."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from proxy.cli.doctor.remedies import Remedy


class Level(StrEnum):
    """How bad it is. A ``NOTE`` is nothing to mend; ``SKIPPED`` could not be looked at."""

    OK = "well"
    NOTE = "note"
    SKIPPED = "skipped"
    WARNING = "warning"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class CheckResult:
    """One line of the report: what was looked at, how it is, and in a sentence what was seen.

    ``cause`` is the stable name of a remedy, ``cure`` what to do; both are empty where all is well.
    """

    check: str
    level: Level
    text: str
    cause: str = ""
    cure: str = ""

    @property
    def is_problem(self) -> bool:
        """Whether there is something to mend."""
        return bool(self.cause)


def ok(check: str, text: str) -> CheckResult:
    """Return a finding that all is well."""
    return CheckResult(check, Level.OK, text)


def note(check: str, text: str) -> CheckResult:
    """Return what is worth knowing and needs no cure."""
    return CheckResult(check, Level.NOTE, text)


def skipped(check: str, why: str) -> CheckResult:
    """Return that something was not looked at, and why."""
    return CheckResult(check, Level.SKIPPED, why)


def problem(check: str, remedy: Remedy, **values: object) -> CheckResult:
    """Return a problem; ``values`` fill in the sentences of its remedy."""
    level = Level.WARNING if remedy.is_warning else Level.FAILED
    return CheckResult(
        check, level, remedy.text.format(**values), remedy.name, remedy.cure.format(**values)
    )


def has_failed(results: Iterable[CheckResult]) -> bool:
    """Whether anything keeps the proxy from doing its work."""
    return any(result.level is Level.FAILED for result in results)
