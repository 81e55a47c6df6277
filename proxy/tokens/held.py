"""The tokens held for one key, and what happens when the bank refuses one.

A token may be refused because the bank has revoked it, because a replica of the bank does not know
it yet, because every new token invalidates the one before, or because a resource always refuses.
``HeldTokens.refuse`` decides with what is known:

- While the former token lives, it is used again, and the newer one is tried later: at twice the
  age at which it was refused, at least ``SHORTEST_RETRY`` seconds later.
- Otherwise the token is dropped, so that another is fetched: the first time at once, whatever its
  age, then at most once per ``RefreshPolicy.rejection_pause``. The pause doubles while new tokens
  are refused too, and starts again once one was accepted or reached its renewal without a refusal.
- During the pause the token is kept, and the refusal goes to the caller.

New tokens that are accepted, and refused before half of their life, ``CONFLICTS`` times in a row,
are a conflict: something else fetches tokens with the same credentials.
"""

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from proxy.tokens.refresh_policy import RefreshPolicy
from proxy.tokens.token import Instant, Token

SHORTEST_RETRY = 1.0
"""Seconds before a token that was refused just after it was issued is tried again."""

CONFLICTS = 3
"""Replaced tokens in a row, after which a conflict is reported; one or two have other causes."""


class Reaction(StrEnum):
    """What a refusal of a token leads to. With all but ``KEPT`` the request has another token."""

    OUTDATED = "outdated"
    """The refused token was not in use any more."""
    FORMER = "former"
    """The former token is in use again."""
    DROPPED = "dropped"
    """No token is left: another has to be fetched."""
    KEPT = "kept"
    """The token stays in use, because another was fetched a short time ago."""


class Refusal(NamedTuple):
    """The reaction to a refusal, and the tokens that must not be used any more."""

    reaction: Reaction
    dropped: tuple[Token, ...] = ()


@dataclass(slots=True, eq=False)
class HeldTokens:
    """The tokens of one key. ``token`` is the one in use; at most one of the next two exists.

    ``former`` is the one before, ``newer`` a refused one that is tried again at
    ``retry_newer_at``. Times are monotonic seconds, ages seconds.
    """

    token: Token | None = None
    former: Token | None = None
    newer: Token | None = None
    retry_newer_at: float = math.inf
    pause_until: float = -math.inf
    refused_age: float = math.inf
    """The age of ``token`` when it was refused first; infinite if it was not."""
    keeps_former: bool = True
    """Whether the next token may leave this one as ``former``; not after a new login."""
    is_replacing: bool = False
    is_replacement: bool = False
    """Whether the newest token was fetched because another was refused."""
    is_accepted: bool = False
    """Whether a request succeeded with the newest token after another was refused."""
    unhelpful: int = 0
    conflicts: int = 0

    @property
    def newest(self) -> Token | None:
        """The token issued last."""
        return self.newer or self.token

    @property
    def all(self) -> tuple[Token, ...]:
        """All tokens, each of which may have expired."""
        return tuple(one for one in (self.token, self.former, self.newer) if one is not None)

    @property
    def is_in_conflict(self) -> bool:
        """Whether something else seems to invalidate the tokens."""
        return self.conflicts >= CONFLICTS

    def install(self, token: Token, now: Instant, policy: RefreshPolicy) -> None:
        """Use a new token; one that is held already changes nothing."""
        if token is self.token or (self.newer is not None and self.newer.text == token.text):
            return
        former = self.token if self.keeps_former else None
        if self.refused_age < math.inf:
            self._count_replacement(now, policy)
            former = None
        elif self.token is not None:
            self.unhelpful = self.conflicts = 0
        self.former = former if former is not None and former.is_alive(now) else None
        self.token, self.newer, self.retry_newer_at = token, None, math.inf
        self.refused_age, self.keeps_former, self.is_accepted = math.inf, True, False
        self.is_replacement, self.is_replacing = self.is_replacing, False

    def shorten(self, token: Token) -> None:
        """Replace the newest token by the same one with an earlier end."""
        if self.newer is not None:
            self.newer = token
        else:
            self.token = token

    def refuse(self, token: Token, now: Instant, policy: RefreshPolicy) -> Refusal:
        """React to the bank's refusal of ``token``."""
        if token is not self.token:
            if token is self.former:
                self.former = None
            return Refusal(Reaction.OUTDATED)
        if self.former is not None and self.former.is_alive(now):
            self.token, self.newer, self.former = self.former, token, None
            self.retry_newer_at = now.monotonic + max(now.since(token.issued), SHORTEST_RETRY)
            return Refusal(Reaction.FORMER)
        self.refused_age = min(self.refused_age, now.since(token.issued))
        if now.monotonic < self.pause_until:
            return Refusal(Reaction.KEPT)
        self._count_replacement(now, policy)
        dropped = (token,) if self.newer is None else (token, self.newer)
        self.token = self.former = self.newer = None
        self.retry_newer_at = self.refused_age = math.inf
        return Refusal(Reaction.DROPPED, dropped)

    def accept(self, token: Token) -> None:
        """Note that a request succeeded with ``token`` after another had been refused."""
        if token is self.token and self.newer is None:
            self.is_accepted = True

    def until_retry(self, now: Instant) -> float:
        """Use the newer token again if it is time; return the seconds until then, or infinity."""
        if self.newer is None or self.token is None:
            return math.inf
        is_alive = self.token.is_alive(now)
        if is_alive and now.monotonic < self.retry_newer_at:
            return self.retry_newer_at - now.monotonic
        is_usable = is_alive and self.refused_age == math.inf
        self.former = self.token if is_usable else None
        self.token, self.newer, self.retry_newer_at = self.newer, None, math.inf
        return math.inf

    def _count_replacement(self, now: Instant, policy: RefreshPolicy) -> None:
        newest = self.newest
        assert newest is not None
        age = min(self.refused_age, now.since(newest.issued))
        was_accepted = self.is_replacement and self.is_accepted
        self.conflicts = self.conflicts + 1 if was_accepted and age < newest.lifetime / 2 else 0
        self.unhelpful = self.unhelpful + 1 if self.is_replacement and not was_accepted else 0
        pause = policy.rejection_pause(newest.lifetime, self.unhelpful)
        self.pause_until = now.monotonic + pause
        self.is_replacing = True
