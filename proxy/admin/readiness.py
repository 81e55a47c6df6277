"""Whether the proxy is ready, and the reasons if it is not."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from proxy.admin.health import NO_REASON, Condition
from proxy.tokens.cache import Entry
from proxy.tokens.token import Instant, TokenKey


@dataclass(slots=True)
class Readiness:
    """Ready while every pinned key has a live token, until draining begins."""

    draining: bool = False
    reasons: list[str] = field(default_factory=list)

    @property
    def is_ready(self) -> bool:
        """Whether there are no reasons against it."""
        return not self.reasons


def warnings(readiness: Readiness, conditions: Sequence[Condition]) -> list[str]:
    """Return the problems that do not count against the readiness, or not as a reason."""
    return [
        f"{each.sentence} {each.cause} {each.advice}"
        for each in conditions
        if each.reason != NO_REASON and not any(each.cause in why for why in readiness.reasons)
    ]


def document(readiness: Readiness, conditions: Sequence[Condition]) -> Mapping[str, object]:
    """Return the body of ``/readyz``; the conditions are those of ``health.assess``."""
    worst = conditions[0]
    return {
        "status": "ready" if readiness.is_ready else "not ready",
        "reasons": readiness.reasons,
        "health": {
            "state": worst.state,
            "reason": worst.reason,
            "sentence": worst.sentence,
            "cause": worst.cause,
            "advice": worst.advice,
        },
        "warnings": warnings(readiness, conditions),
    }


def assess(entries: Iterable[Entry], now: Instant, *, draining: bool) -> Readiness:
    """Return the readiness for these token keys."""
    reasons = ["shutting down"] if draining else []
    for entry in entries:
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
                f"no {entry.key.kind.value} token for institution {_owner(entry.key)}: {why}"
            )
    return Readiness(draining, reasons)


def _owner(key: TokenKey) -> str:
    return (
        f"{key.institution} (login of listener {key.subject})" if key.subject else key.institution
    )
