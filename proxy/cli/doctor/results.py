"""PURE: what a check has found."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from proxy.cli.doctor.remedies import REMEDIES


class Level(StrEnum):
    """How bad it is. A ``NOTE`` is nothing to mend; ``SKIPPED`` could not be looked at."""

    WELL = "well"
    NOTE = "note"
    SKIPPED = "skipped"
    WARNING = "warning"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report: what was looked at, how it is, and in a sentence what was seen.

    ``cause`` is the stable name of a remedy, ``cure`` what to do; both are empty where all is well.
    """

    check: str
    level: Level
    text: str
    cause: str = ""
    cure: str = ""

    @property
    def is_ill(self) -> bool:
        """Whether there is something to mend."""
        return bool(self.cause)


def well(check: str, text: str) -> Finding:
    """Return a finding that all is well."""
    return Finding(check, Level.WELL, text)


def note(check: str, text: str) -> Finding:
    """Return what is worth knowing and needs no cure."""
    return Finding(check, Level.NOTE, text)


def skipped(check: str, why: str) -> Finding:
    """Return that something was not looked at, and why."""
    return Finding(check, Level.SKIPPED, why)


def ill(check: str, cause: str, **values: object) -> Finding:
    """Return a finding by its remedy's name; ``values`` fill in the remedy's sentences."""
    remedy = REMEDIES[cause]
    level = Level.WARNING if remedy.is_warning else Level.FAILED
    return Finding(check, level, remedy.text.format(**values), cause, remedy.cure.format(**values))


def has_failed(findings: Iterable[Finding]) -> bool:
    """Whether anything keeps the proxy from doing its work."""
    return any(finding.level is Level.FAILED for finding in findings)
