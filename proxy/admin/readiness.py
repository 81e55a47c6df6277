"""Whether the proxy is ready, and the reasons if it is not."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from proxy.errors import kinds
from proxy.tokens.cache import Entry
from proxy.tokens.token import Instant


@dataclass(slots=True)
class Readiness:
    """Ready while every pinned key has a live token, until draining begins."""

    draining: bool = False
    reasons: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    @property
    def is_ready(self) -> bool:
        """Whether there are no reasons against it."""
        return not self.reasons


def assess(
    entries: Iterable[Entry], now: Instant, *, draining: bool, reload_failure: str = ""
) -> Readiness:
    """Return the readiness for these token keys.

    ``reload_failure`` is why the last reload failed: a warning, since the old configuration is
    still used.
    """
    warnings = [f"configuration reload failed: {reload_failure}"] if reload_failure else []
    reasons = ["shutting down"] if draining else []
    for entry in entries:
        if entry.held.is_in_conflict:
            warnings.append(f"{entry.key}: {kinds.TOKEN_CONFLICT.cause}")
        if entry.is_between_tokens:
            continue
        if entry.pinned and (entry.token is None or not entry.token.is_alive(now)):
            error = entry.error
            why = (
                "the first one is being fetched"
                if error is None
                else f"{error.operator_detail} {error.explained_by.remedy}"
            )
            reasons.append(
                f"no {entry.key.kind.value} token for institution {entry.key.institution}: {why}"
            )
    return Readiness(draining, reasons, warnings)
