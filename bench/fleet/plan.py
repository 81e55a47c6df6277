"""A plan: a fleet, its bank, its store and their faults, as plain values. Times in seconds."""

from dataclasses import dataclass, field

from proxy.errors import TokenFailure, kinds
from proxy.tokens.fleet.lease_policy import LeasePolicy
from proxy.tokens.refresh_policy import RefreshPolicy

NEVER = (float("inf"), float("inf"))

Window = tuple[float, float]
"""Start and (exclusive) end of a period."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A fleet of ``pods``, each of which needs a token of each of the ``institutions``.

    Pods start within ``start_over``, or at ``starts``, and their callers need every institution
    within ``needed_within`` of that. The bank takes ``spike`` token calls in any second and
    ``quota`` a minute, None for as many as come, and answers in ``latency`` (least, most). When it
    is down, it fails as ``outage`` says. Figures are of what happens within ``watched``.
    """

    name: str
    pods: int
    institutions: int = 1
    lifetime: float = 3600.0
    has_store: bool = False
    spike: int | None = 50
    quota: int | None = None
    latency: tuple[float, float] = (0.1, 0.3)
    start_over: float = 1.0
    starts: tuple[float, ...] = ()
    needed_within: float = 60.0
    watched: Window = (0.0, 3600.0)
    bank_down: Window = NEVER
    outage: TokenFailure = kinds.TOKEN_SERVER
    store_down: Window = NEVER
    asleep: Window = NEVER
    policy: RefreshPolicy = field(default_factory=RefreshPolicy)
    sharing: LeasePolicy = field(default_factory=LeasePolicy)
    seed: int = 1

    @property
    def end(self) -> float:
        """When it is over."""
        return self.watched[1]

    @property
    def fault_end(self) -> float:
        """The end of the last fault; infinite without one."""
        ends = [end for _, end in (self.bank_down, self.store_down, self.asleep)]
        return max((end for end in ends if end != NEVER[1]), default=NEVER[1])


def within(window: Window, now: float) -> bool:
    """Whether ``now`` is in a window."""
    return window[0] <= now < window[1]
