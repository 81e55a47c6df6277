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
in the one in which the store went away. The same goes for one who has waited ``patience`` and
still sees somebody else's lease. What was got this way is not shared.

**What is shared.** Tokens of an application (the client credentials grant). Those of a user are
not: their refresh tokens are good once and belong to the proxy that holds them. Nor is a fixed
bearer, of which nobody knows how long it lives. A shared token is not revoked at shutdown.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from proxy.errors import TokenFailure


class Step(StrEnum):
    """What to do next."""

    TAKE = "take"
    """Use the token that the store offers."""
    LEASE = "lease"
    """Ask for the lease; whoever gets it asks the bank for all."""
    WAIT = "wait"
    """Look again after ``next_look``."""
    REFUSE = "refuse"
    """Fail as the bank refused another proxy, for as long as that binds."""
    ALONE = "alone"
    """Ask the bank without a lease, and share nothing."""


class View(NamedTuple):
    """What the store showed, in seconds from now; 0 for what is not there.

    ``offered`` is the life left of a token that is neither the one in hand nor rejected,
    ``leased`` what is left of another's lease (or of the pause after a failed one), ``refused``
    how long the bank's last refusal binds.
    """

    offered: float = 0.0
    leased: float = 0.0
    refused: float = 0.0


class Wish(NamedTuple):
    """Who wants a token: ``left`` is the life of the one in hand, 0 if there is none.

    ``waited`` is how long it has been wanting one, both in seconds; ``chance`` in [0, 1) is drawn
    once for each wish.
    """

    left: float
    waited: float
    chance: float


@dataclass(frozen=True, slots=True)
class SharingPolicy:
    """How a fleet shares. All times in seconds.

    ``patience`` should be as long as a call to the bank may take, and a lease longer.
    """

    lease: float = 3.0
    pause: float = 0.5
    patience: float = 13.0
    spread: float = 60.0
    spread_needy: float = 2.0
    look_first: float = 0.05
    look_last: float = 1.0
    look_holding: float = 2.0
    follow: float = 5.0
    follow_rate: float = 50.0

    def decide(self, view: View, wish: Wish) -> Step:
        """Return the next step of one who sees ``view``."""
        if view.offered > wish.left:
            return Step.TAKE
        if view.refused > 0:
            return Step.REFUSE
        if view.leased <= 0:
            return Step.LEASE
        return Step.ALONE if self._is_out_of_patience(wish) else Step.WAIT

    def decide_blind(self, wish: Wish, blind: float) -> Step:
        """Return the next step of one whom the store has not answered for ``blind`` seconds."""
        return Step.ALONE if blind >= self.alone_after(wish) else Step.WAIT

    def alone_after(self, wish: Wish) -> float:
        """Return how long one waits for a store that does not answer.

        Somebody without a token has requests waiting, so not long; with a token in hand there is
        time for a wide spread, but never more than half of what the token still lives.
        """
        if wish.left <= 0:
            return wish.chance * self.spread_needy
        return wish.chance * min(self.spread, wish.left / 2)

    def next_look(self, wish: Wish, looks: int, chance: float) -> float:
        """Return the seconds to the next look, after so many ``looks``; one in a hurry looks often.

        ``chance`` in [0, 1) is drawn for each look.
        """
        longest = self.look_last if wish.left <= 0 else self.look_holding
        step = min(self.look_first * 2.0 ** min(looks, 16), longest)
        return step / 2 + chance * step / 2

    def renew_every(self) -> float:
        """Return the seconds between two renewals of a lease: one may get lost."""
        return self.lease / 3

    def spread_for(self, keys: int) -> float:
        """Return the widest spread, in seconds, for one who holds so many keys.

        With few, what matters is how many others there are; a gateway with many has them spread
        already, and only so many calls under way at once (``RefreshPolicy.max_refreshes``).
        """
        return min(self.spread, max(16 * self.spread / max(keys, 1), self.spread / 12))

    def follow_every(self, keys: int) -> float:
        """Return the seconds between two looks of one who only follows, holding so many keys.

        Each key is looked at every ``follow`` seconds, with very many keys more rarely.
        """
        return max(self.follow / max(keys, 1), 1 / self.follow_rate)

    def _is_out_of_patience(self, wish: Wish) -> bool:
        # With a token in hand one waits until half of what it lived then has gone by.
        is_late = wish.waited >= self.patience + wish.chance * self.spread_needy
        return is_late and wish.waited >= wish.left


def binds_all(reason: TokenFailure) -> bool:
    """Whether a failed token call says what the bank would tell every proxy of the fleet."""
    return reason.is_refusal or reason in (TokenFailure.THROTTLED, TokenFailure.SERVER)


@dataclass(slots=True)
class Circuit:
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

    def failed(self, now: float, chance: float) -> None:
        """Take note of a failure; the wait is between half of its step and the whole."""
        self.failures += 1
        step = min(self.shortest * 2.0 ** min(self.failures - 1, 16), self.longest)
        self.retry_at = now + step / 2 + chance * step / 2

    def worked(self) -> None:
        """Take note that the store answered."""
        self.failures, self.retry_at = 0, 0.0
