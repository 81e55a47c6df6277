"""Allow and deny lists for the bank's resources."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from proxy.forwarding.paths import is_ambiguous, segments
from proxy.forwarding.patterns import Pattern


class PolicyDecision(StrEnum):
    """The decision on a request; ``WARNED`` is forwarded and counted."""

    ALLOWED = "allowed"
    WARNED = "warned"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class AccessPolicy:
    """Allow and deny lists. ``deny`` wins; an empty ``allow`` allows all that is not denied.

    With ``enforce`` false, nothing is refused, only counted. Patterns apply to the path without
    the base path. ``deny`` ignores case, because an upstream might.
    """

    allow: Sequence[Pattern] = ()
    deny: Sequence[Pattern] = ()
    enforce: bool = True

    @property
    def is_empty(self) -> bool:
        """Whether there are no patterns, so that paths need not be checked."""
        return not self.allow and not self.deny

    def evaluate(self, method: str, path: bytes) -> PolicyDecision:
        """Return the decision on a request for ``path``. An ambiguous path is not allowed."""
        if self.is_empty or self._permits(method, path):
            return PolicyDecision.ALLOWED
        return PolicyDecision.REFUSED if self.enforce else PolicyDecision.WARNED

    def _permits(self, method: str, path: bytes) -> bool:
        if is_ambiguous(path):
            return False
        parts = segments(path)
        if any(pattern.matches(method, parts, any_case=True) for pattern in self.deny):
            return False
        return not self.allow or any(pattern.matches(method, parts) for pattern in self.allow)
