"""The token source for a quick trial: one bearer, given by hand, never refreshed."""

import math
from collections.abc import Callable

from proxy.tokens.token import Moment, Token, TokenKey


class FixedBearer:
    """Gives the same bearer for every key (``CANDESCENT_BEARER_TOKEN``).

    Nobody knows when it dies; the bank's refusal then reaches the caller.
    """

    def __init__(self, text: str, clock: Callable[[], Moment]) -> None:
        self._text = text
        self._clock = clock

    async def token(self, key: TokenKey) -> Token:
        """Return the bearer, good for ever as far as we can tell."""
        return Token(key, self._text, self._clock(), math.inf)
