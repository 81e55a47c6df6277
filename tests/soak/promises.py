"""PURE: what may become of a request, and which weather explains what."""

from enum import StrEnum


class RequestOutcome(StrEnum):
    """What became of a request."""

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
    """Weather, by what it may do to requests."""

    TOKENS = "token endpoint"
    BANK = "bank"
    NETWORK = "network"
    REVOKED = "tokens revoked"
    STALL = "machine standing still"


ALWAYS = frozenset({RequestOutcome.OK, RequestOutcome.HOSTILE_REFUSED, RequestOutcome.CALLER_LEFT})
"""Fates that need no explanation."""

EXPLAINED_BY = {
    # A token that was sent in time may have died on a slow way.
    RequestOutcome.BANK: frozenset(
        {FaultCause.BANK, FaultCause.REVOKED, FaultCause.NETWORK, FaultCause.STALL}
    ),
    # On a machine that stands still, deadlines of a second pass.
    RequestOutcome.TOKEN: frozenset({FaultCause.TOKENS, FaultCause.NETWORK, FaultCause.STALL}),
    RequestOutcome.UPSTREAM: frozenset({FaultCause.BANK, FaultCause.NETWORK, FaultCause.STALL}),
    RequestOutcome.BUSY: frozenset({FaultCause.BANK, FaultCause.NETWORK, FaultCause.STALL}),
    RequestOutcome.ABORTED: frozenset({FaultCause.BANK, FaultCause.NETWORK, FaultCause.STALL}),
}
"""What each other fate may come of. Those that stand nowhere are never allowed."""

AFTER = {
    FaultCause.TOKENS: 3.0,
    FaultCause.BANK: 1.0,
    FaultCause.NETWORK: 3.0,
    FaultCause.REVOKED: 3.0,
    FaultCause.STALL: 1.0,
}
"""Seconds that a weather's consequences may last: a back-off step of the token's way and the
timeout before it, a request that began in it, a token minted moments before it was revoked."""


def allowed(result: RequestOutcome, causes: frozenset[FaultCause]) -> bool:
    """Whether the promises allow this fate in this weather."""
    return result in ALWAYS or bool(EXPLAINED_BY.get(result, frozenset()) & causes)
