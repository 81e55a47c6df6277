"""PURE: how a fleet lives on one token: who asks the bank, when, and what the others do meanwhile.

The store is a Redis or Valkey. What a proxy knows of it comes in as plain numbers, so the same
decisions can be played through with a clock of one's own; nothing here speaks to anything.

**The record.** One hash for each token key, under a name that tells nothing (``encryption``). One
key, so one slot of a cluster; each step below is one Lua script, so it happens whole or not at
all, and by the store's clock. In it stand

    fence        the number of the last lease that was given
    owner, until whose lease it is, and the store's time at which it ends
    entry:<id>   a sealed token, by the id of the key that sealed it
    refusal      the bank's last answer that held no token, sealed, and until when it binds
    rejected     the last few tokens that the bank refused on resource calls, as digests

**Who asks.** A proxy wants a token when it has none, or when the one in hand is due (each at its
own random moment, see ``RefreshPolicy``). It looks into the store first. A newer token there is
taken. Otherwise, if nobody holds the lease, it takes the lease and asks the bank; so the first of
the fleet whose token is due asks for all, and the others find its token long before theirs ends.
While another holds the lease, they wait and look again.

**The lease** is short and renewed while the call to the bank runs, so that a slow bank keeps
everybody patient, and a killed owner nobody for longer than ``lease``. Each lease has a number,
and each number is greater than all before it: one more than the last, or the store's time in
microseconds if that is more, so that even an emptied or replaced store never gives one twice. A
token is written only if the record still bears the writer's number. An owner that was stopped,
and wakes after another took over, thus writes nothing; it uses the token it got by itself.

**Time.** An entry says when the lease was given by the store's clock, which is before the bank was
asked, and when the bank was asked by the writer's clock. A reader believes whichever makes the
token older, and counts from before it sent its question. A late write, a slow store, clocks that
differ and a replica with another clock can make a token look older than it is, never younger.

**After a failure.** What the bank itself said (quota, spike, refused credentials, an error of its
own) it would say to all, so it binds all: nobody asks again until the time is over that one proxy
alone would have waited, then one does. A call that failed on the way (no connection, no answer)
may be one machine's trouble. It binds nobody: the lease is free again after a short ``pause``.

**A rejected token** is noted by its digest. Nobody takes it any more, and whoever holds it drops
it at the next look, unless it is so young that another would not help.

**Without the store** each proxy asks for itself, at a random moment, so that they do not all do it
in the one in which the store went away. The same goes for one who has waited ``max_wait`` and
still sees somebody else's lease. What was got this way is not shared.

**What is shared.** Tokens of an application (the client credentials grant). Those of a user are
not: their refresh tokens are good once and belong to the proxy that holds them. Nor is a fixed
bearer, of which nobody knows how long it lives. A shared token is not revoked at shutdown.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from proxy.errors import TokenFailure, kinds
from proxy.tokens.fleet.store_settings import StoreSettings
from proxy.tokens.refresh_policy import RefreshPolicy


class NextAction(StrEnum):
    """What to do next."""

    USE_SHARED = "use_shared"
    """Use the token that the store offers."""
    LEASE = "lease"
    """Ask for the lease; whoever gets it asks the bank for all."""
    WAIT = "wait"
    """Look again after ``next_poll``."""
    REFUSE = "refuse"
    """Fail as the bank refused another proxy, for as long as that binds."""
    FETCH_DIRECTLY = "fetch_directly"
    """Ask the bank without a lease, and share nothing."""


class StoreState(NamedTuple):
    """What the store showed, in seconds from now; 0 for what is not there.

    ``token_left`` is the life left of a token that is neither the one in hand nor rejected,
    ``lease_left`` what is left of another's lease (or of the pause after a failed one),
    ``refusal_left`` how long the bank's last refusal binds.
    """

    token_left: float = 0.0
    lease_left: float = 0.0
    refusal_left: float = 0.0


class Need(NamedTuple):
    """Who wants a token: ``token_left`` is the life of the one in hand, 0 if there is none.

    ``waited`` is how long it has been wanting one, both in seconds; ``chance`` in [0, 1) is drawn
    once for each wish.
    """

    token_left: float
    waited: float
    chance: float


@dataclass(frozen=True, slots=True)
class LeasePolicy:
    """How a fleet shares. All times in seconds.

    ``max_wait`` should be as long as a call to the bank may take, and a lease longer.
    """

    lease: float = StoreSettings.lease
    pause: float = 0.5
    max_wait: float = RefreshPolicy.timeout + StoreSettings.lease
    spread: float = 60.0
    spread_without_token: float = 2.0
    first_poll: float = 0.05
    longest_poll: float = 1.0
    longest_poll_with_token: float = 2.0
    poll_every: float = StoreSettings.follow
    poll_rate: float = 50.0

    def decide(self, state: StoreState, need: Need) -> NextAction:
        """Return the next step of one who sees ``state``."""
        if state.token_left > need.token_left:
            return NextAction.USE_SHARED
        if state.refusal_left > 0:
            return NextAction.REFUSE
        if state.lease_left <= 0:
            return NextAction.LEASE
        return NextAction.FETCH_DIRECTLY if self._has_waited_too_long(need) else NextAction.WAIT

    def decide_without_store(self, need: Need, seconds: float) -> NextAction:
        """Return the next step of one whom the store has not answered for ``seconds`` seconds."""
        return NextAction.FETCH_DIRECTLY if seconds >= self.direct_after(need) else NextAction.WAIT

    def direct_after(self, need: Need) -> float:
        """Return how long one waits for a store that does not answer.

        Somebody without a token has requests waiting, so not long; with a token in hand there is
        time for a wide spread, but never more than half of what the token still lives.
        """
        if need.token_left <= 0:
            return need.chance * self.spread_without_token
        return need.chance * min(self.spread, need.token_left / 2)

    def next_poll(self, need: Need, polls: int, chance: float) -> float:
        """Return the seconds to the next look, after so many ``polls``; one in a hurry looks often.

        ``chance`` in [0, 1) is drawn for each look.
        """
        longest = self.longest_poll if need.token_left <= 0 else self.longest_poll_with_token
        step = min(self.first_poll * 2.0 ** min(polls, 16), longest)
        return step / 2 + chance * step / 2

    def renew_interval(self) -> float:
        """Return the seconds between two renewals of a lease: one may get lost."""
        return self.lease / 3

    def spread_for(self, keys: int) -> float:
        """Return the widest spread, in seconds, for one who holds so many keys.

        With few, what matters is how many others there are; a gateway with many has them spread
        already, and only so many calls under way at once (``RefreshPolicy.max_refreshes``).
        """
        return min(self.spread, max(16 * self.spread / max(keys, 1), self.spread / 12))

    def poll_interval(self, keys: int) -> float:
        """Return the seconds between two looks of one who only follows, holding so many keys.

        Each key is looked at every ``poll_every`` seconds, with very many keys more rarely.
        """
        return max(self.poll_every / max(keys, 1), 1 / self.poll_rate)

    def _has_waited_too_long(self, need: Need) -> bool:
        # With a token in hand one waits until half of what it lived then has gone by.
        is_late = need.waited >= self.max_wait + need.chance * self.spread_without_token
        return is_late and need.waited >= need.token_left


def applies_to_fleet(reason: TokenFailure) -> bool:
    """Whether a failed token call says what the bank would tell every proxy of the fleet."""
    return reason.is_refusal or reason in (kinds.TOKEN_THROTTLED, kinds.TOKEN_SERVER)


@dataclass(slots=True)
class CircuitBreaker:
    """Keeps a dead store from costing a deadline each time. Times are monotonic seconds.

    After a failure nobody asks for a while, twice as long each time; then one who asks tries it
    out, the others go on without.
    """

    shortest: float = 1.0
    longest: float = 30.0
    failures: int = 0
    retry_at: float = 0.0

    def allows(self, now: float, trial: float) -> bool:
        """Whether the store may be asked; one who is sent to try it has ``trial`` seconds."""
        if not self.failures:
            return True
        if now < self.retry_at:
            return False
        self.retry_at = now + trial
        return True

    def record_failure(self, now: float, chance: float) -> None:
        """Take note of a failure; the wait is between half of its step and the whole."""
        self.failures += 1
        step = min(self.shortest * 2.0 ** min(self.failures - 1, 16), self.longest)
        self.retry_at = now + step / 2 + chance * step / 2

    def record_success(self) -> None:
        """Take note that the store answered."""
        self.failures, self.retry_at = 0, 0.0
