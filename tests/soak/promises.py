"""The outcomes of a request, and which fault permits which."""

from enum import StrEnum


class RequestOutcome(StrEnum):
    """The outcome of a request."""

    OK = "answered well"
    HOSTILE_REFUSED = "refused as hostile"
    CALLER_LEFT = "caller left"
    BANK = "the bank's own error"
    TOKEN = "no token (503)"
    UPSTREAM = "bank not reached (502, 504)"
    BUSY = "proxy full (503)"
    ABORTED = "answer cut"
    WRONG = "wrong answer"
    LOST = "no answer"
    HUNG = "no end"


class FaultCause(StrEnum):
    """Faults by their possible effect on requests."""

    TOKENS = "token endpoint"
    BANK = "bank"
    NETWORK = "network"
    REVOKED = "tokens revoked"
    STALL = "machine standing still"


ALWAYS = frozenset({RequestOutcome.OK, RequestOutcome.HOSTILE_REFUSED, RequestOutcome.CALLER_LEFT})
"""Outcomes that are always permitted."""

EXPLAINED_BY = {
    # A token may expire on a slow network after it has been sent.
    RequestOutcome.BANK: frozenset(
        {FaultCause.BANK, FaultCause.REVOKED, FaultCause.NETWORK, FaultCause.STALL}
    ),
    # On a stalled machine, deadlines of a second are exceeded.
    RequestOutcome.TOKEN: frozenset({FaultCause.TOKENS, FaultCause.NETWORK, FaultCause.STALL}),
    RequestOutcome.UPSTREAM: frozenset({FaultCause.BANK, FaultCause.NETWORK, FaultCause.STALL}),
    RequestOutcome.BUSY: frozenset({FaultCause.BANK, FaultCause.NETWORK, FaultCause.STALL}),
    RequestOutcome.ABORTED: frozenset({FaultCause.BANK, FaultCause.NETWORK, FaultCause.STALL}),
}
"""The faults that permit each other outcome. Outcomes not listed are never permitted."""

AFTER = {
    FaultCause.TOKENS: 3.0,
    FaultCause.BANK: 1.0,
    FaultCause.NETWORK: 3.0,
    FaultCause.REVOKED: 3.0,
    FaultCause.STALL: 1.0,
}
"""Seconds that the effect of a fault lasts: a timeout and back-off of a token refresh, a request
that started during the fault, a token issued just before it was revoked."""


def allowed(result: RequestOutcome, causes: frozenset[FaultCause]) -> bool:
    """Whether these faults permit an outcome."""
    return result in ALWAYS or bool(EXPLAINED_BY.get(result, frozenset()) & causes)
