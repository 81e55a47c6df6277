"""A token source for a quick trial: a static bearer token that is never refreshed."""

from collections.abc import Callable

from proxy.tokens.token import Instant, Token, TokenKey

LIFETIME = 100 * 31_536_000.0
"""Seconds; longer than any process runs, and still a finite number for JSON and metrics."""


class StaticTokenSource:
    """Returns the same bearer token for every key (``CANDESCENT_BEARER_TOKEN``).

    Its lifetime is unknown; once it has expired, callers get the bank's refusal.
    """

    def __init__(self, text: str, clock: Callable[[], Instant]) -> None:
        self._text = text
        self._clock = clock

    async def token(self, key: TokenKey) -> Token:
        """Return the bearer token with an unlimited lifetime."""
        return Token(key, self._text, self._clock(), LIFETIME)
