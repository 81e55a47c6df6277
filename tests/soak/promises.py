"""PURE: what may become of a request, and which weather explains what."""

from enum import StrEnum


class Fate(StrEnum):
    """What became of a request."""

    WELL = "answered well"
    OUTSIDE = "refused as hostile"
    GONE = "caller left"
    BANK = "the bank's own error"
    TOKEN = "no token (503)"
    UPSTREAM = "bank not reached (502, 504)"
    BUSY = "proxy full (503)"
    CUT = "answer cut"
    WRONG = "wrong answer"
    LOST = "no answer"
    HUNG = "no end"


class Cause(StrEnum):
    """Weather, by what it may do to requests."""

    TOKENS = "token endpoint"
    BANK = "bank"
    NETWORK = "network"
    REVOKED = "tokens revoked"
    STALL = "machine standing still"


ALWAYS = frozenset({Fate.WELL, Fate.OUTSIDE, Fate.GONE})
"""Fates that need no explanation."""

EXPLAINED_BY = {
    # A token that was sent in time may have died on a slow way.
    Fate.BANK: frozenset({Cause.BANK, Cause.REVOKED, Cause.NETWORK, Cause.STALL}),
    Fate.TOKEN: frozenset({Cause.TOKENS, Cause.NETWORK}),
    Fate.UPSTREAM: frozenset({Cause.BANK, Cause.NETWORK}),
    Fate.BUSY: frozenset({Cause.BANK, Cause.NETWORK}),
    Fate.CUT: frozenset({Cause.BANK, Cause.NETWORK}),
}
"""What each other fate may come of. Those that stand nowhere are never allowed."""

AFTER = {
    Cause.TOKENS: 3.0,
    Cause.BANK: 1.0,
    Cause.NETWORK: 3.0,
    Cause.REVOKED: 3.0,
    Cause.STALL: 1.0,
}
"""Seconds that a weather's consequences may last: a back-off step of the token's way and the
timeout before it, a request that began in it, a token minted moments before it was revoked."""


def allowed(fate: Fate, weather: frozenset[Cause]) -> bool:
    """Whether the promises allow this fate in this weather."""
    return fate in ALWAYS or bool(EXPLAINED_BY.get(fate, frozenset()) & weather)
