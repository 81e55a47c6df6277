"""PURE: which of the bank's resources callers may use through this proxy, if not all of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from proxy.forwarding.paths import is_ambiguous, segments
from proxy.forwarding.patterns import Pattern


class PolicyDecision(StrEnum):
    """What the policy says of a request; ``WARNED`` is forwarded and counted."""

    ALLOWED = "allowed"
    WARNED = "warned"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class AccessPolicy:
    """Allow and deny lists. ``deny`` wins; an empty ``allow`` allows all that is not denied.

    With ``enforce`` false, nothing is refused, only counted. Patterns are for the path without
    the base path. ``deny`` looks past upper and lower case, because an upstream might.
    """

    allow: Sequence[Pattern] = ()
    deny: Sequence[Pattern] = ()
    enforce: bool = True

    @property
    def is_empty(self) -> bool:
        """Whether it says nothing, so that paths need not be looked at."""
        return not self.allow and not self.deny

    def evaluate(self, method: str, path: bytes) -> PolicyDecision:
        """Return the verdict on a request for ``path``."""
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
