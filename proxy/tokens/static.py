"""The token source for a quick trial: one bearer, given by hand, never refreshed."""

from collections.abc import Callable
from dataclasses import replace

from proxy.tokens.refresh_policy import RefreshPolicy
from proxy.tokens.token import Instant, Token, TokenKey

LIFETIME = 100 * 31_536_000.0
"""Seconds; a lifetime that no process sees the end of, and that is a number in every format."""


class StaticTokenSource:
    """Gives the same bearer for every key (``CANDESCENT_BEARER_TOKEN``).

    Nobody knows when it dies; the bank's refusal then reaches the caller.
    """

    def __init__(self, text: str, clock: Callable[[], Instant]) -> None:
        self._text = text
        self._clock = clock

    async def token(self, key: TokenKey) -> Token:
        """Return the bearer, good for ever as far as we can tell."""
        return Token(key, self._text, self._clock(), LIFETIME)


def without_rejection(policy: RefreshPolicy) -> RefreshPolicy:
    """Return a policy that keeps a refused token, because there is no other to be had."""
    return replace(policy, min_interval=LIFETIME)
