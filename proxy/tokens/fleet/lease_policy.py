"""How the proxies of a fleet share one token: which one calls the bank, and what the others do.

The store is a Redis or Valkey. Its state is passed in as plain numbers, so that the decisions can
be simulated with any clock; there is no I/O here.

**The record.** One hash for each token key, under an HMAC as its name (``encryption``). It is a
single Redis key, so it lies in one slot of a cluster. Each operation is one Lua script, hence
atomic, and uses the store's clock. Its fields:

    fence        the fencing number of the last lease
    until        the end of the lease, by the store's clock
    entry:<id>   an encrypted token, by the id of its encryption key
    owner        the owner of the last lease: a random text for each proxy
    refusal      the bank's last failure, encrypted, with the time until which it applies
    rejected     digests of the last few tokens that the bank refused on resource calls

**Who calls the bank.** A proxy needs a token when it has none or when its own is due for renewal
(each proxy at a random time, see ``RefreshPolicy``). It reads the store first. If there is a newer
token, it uses that one. Otherwise, if the lease is free, it takes the lease and calls the bank. So
the first proxy of the fleet whose token is due fetches for all, and the others find the new token
long before theirs expires. While another proxy holds the lease, they wait and poll.

**The lease** is short and renewed while the call to the bank runs: a slow bank keeps it, and a
killed owner blocks the others for at most ``lease``. Until the first renewal, which follows the
store's reply, it is shorter (``first_lease``), because the reply may be lost. Each lease has a
fencing number, greater than all before: one more than the last, or the store's time in microseconds
if that is greater, so that an emptied or replaced store never repeats one. A token is written only
if the record still has the writer's number. An owner that was suspended while another took over
writes nothing and uses its token alone.

**Time.** An entry has the time of the lease, which precedes the call. Its age is what the store's
clock says, counted from before the reader sent its read; the clocks of the proxies do not matter. A
late write or a slow store can make a token look older than it is, never younger. The clocks of a
primary and its replicas must agree: after a failover, an entry from the future is ignored.

**After a failure.** A refusal by the bank (quota, spike, refused credentials, server error) would
meet every proxy, so it applies to the fleet: none calls before the wait of ``probe_delay`` ends,
then one does for all. A call that failed before a response (no connection, timeout) may be a
problem of one machine, so another proxy may call at once; when that fails too, it applies to the
fleet like a refusal. During the call after such a failure the others wait for ``probe_wait`` only.
A proxy's own back-off counts its own calls alone. So none calls more often than it would without a
store.

**A rejected token** is recorded by its digest. No proxy takes it any more, and one that holds it
reacts at its next poll as to a refusal of its own (``held``).

**Without the store** each proxy calls the bank itself: at once without a token, else after a random
delay, so that they do not all call at the moment of the failure. Tokens fetched in this way are not
shared. Waiting for another proxy and the own call take ``max_wait`` together.

**What is shared.** Tokens of an application (client credentials). A user's tokens are not, because
their refresh tokens are good once and belong to one proxy. Nor is a static bearer token, because
its lifetime is unknown. A shared token is not revoked at shutdown.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from proxy.errors import TokenFailure, kinds
from proxy.tokens.fleet.encryption import RefusalEntry
from proxy.tokens.fleet.store_settings import StoreSettings
from proxy.tokens.refresh_policy import RETRY_AFTER_MAX, RefreshPolicy

PROBE_EVERY = 10.0
"""Seconds; how often a fleet with few keys calls a bank whose token calls fail."""


class NextAction(StrEnum):
    """The next step of a proxy that needs a token."""

    USE_SHARED = "use_shared"
    """Use the token in the store."""
    LEASE = "lease"
    """Request the lease; its owner calls the bank for the fleet."""
    WAIT = "wait"
    """Read the store again after ``next_poll``."""
    REFUSE = "refuse"
    """Fail with the bank's refusal of another proxy, while it applies."""
    FETCH_DIRECTLY = "fetch_directly"
    """Call the bank without a lease and do not share the token."""
    TIME_OUT = "time_out"
    """Fail, because no proxy has got a token in time."""


class StoreState(NamedTuple):
    """The state of the record, as seconds from now; 0 for none.

    ``token_left`` is the remaining life of a token that is neither held already nor rejected,
    ``lease_left`` the rest of another's lease, ``refusal_left`` how long the bank's last failure
    still applies. ``is_after_failure``: the last call's failure applied to the fleet, so the next
    call is a probe.
    """

    token_left: float = 0.0
    lease_left: float = 0.0
    refusal_left: float = 0.0
    is_after_failure: bool = False


class Need(NamedTuple):
    """A proxy's need for a token: ``token_left`` is the life of the one it holds, 0 for none.

    ``waited`` is how long it has waited for one without holding any; both in seconds. ``chance`` in
    [0, 1) is drawn once per need.
    """

    token_left: float
    waited: float
    chance: float


@dataclass(frozen=True, slots=True)
class LeasePolicy:
    """The times of sharing, in seconds.

    ``max_wait`` is the longest time of a call to the bank, ``shortest_call`` what must be left of
    it to start one.
    """

    lease: float = StoreSettings.lease
    first_lease: float = 2 * StoreSettings.timeout
    max_wait: float = RefreshPolicy.timeout
    shortest_call: float = 1.0
    probe_wait: float = 0.5
    probe_every: float = PROBE_EVERY
    spread: float = 60.0
    first_poll: float = 0.05
    longest_poll: float = 1.0
    longest_poll_with_token: float = 2.0
    poll_every: float = StoreSettings.follow
    poll_rate: float = 50.0

    def decide(self, state: StoreState, need: Need) -> NextAction:
        """Return the next step when the record is in ``state``."""
        if state.token_left > need.token_left:
            return NextAction.USE_SHARED
        if state.refusal_left > 0:
            return NextAction.REFUSE
        if state.lease_left <= 0:
            return NextAction.LEASE if self._may_call(need) else NextAction.TIME_OUT
        if state.is_after_failure and need.waited >= self.probe_wait:
            return NextAction.REFUSE
        return NextAction.WAIT if need.waited < self.max_wait else NextAction.TIME_OUT

    def decide_without_store(self, need: Need, seconds: float) -> NextAction:
        """Return the next step when the store has failed for ``seconds``."""
        if seconds < self.direct_after(need):
            return NextAction.WAIT
        return NextAction.FETCH_DIRECTLY if self._may_call(need) else NextAction.TIME_OUT

    def direct_after(self, need: Need) -> float:
        """Return the seconds to wait for a failed store before calling the bank directly.

        None without a token, because requests wait; with one up to ``spread``, but at most half of
        the token's remaining life.
        """
        return need.chance * min(self.spread, need.token_left / 2)

    def call_time(self, need: Need) -> float:
        """Return the seconds that a call to the bank may take."""
        return self.max_wait - need.waited

    def probe_delay(
        self,
        refresh: RefreshPolicy,
        reason: TokenFailure,
        failures: int,
        chance: float,
        retry_after: float | None,
        *,
        first: bool = False,
    ) -> float:
        """Return the seconds until the fleet calls again after ``failures`` failures in a row.

        As long as one proxy would wait, but at most ``probe_every``: one call for a whole fleet
        burdens no bank. Refused credentials and the bank's ``Retry-After`` (``retry_after``) are
        not shortened. ``first``: the fleet has had no token yet.
        """
        if reason.is_refusal:
            return refresh.retry_delay(reason, failures, chance, retry_after, first=first)
        delay = refresh.retry_delay(reason, failures, chance, retry_after)
        return min(delay, max(self.probe_every, min(retry_after or 0.0, RETRY_AFTER_MAX)))

    def next_poll(self, need: Need, polls: int, chance: float) -> float:
        """Return the seconds until the next poll after ``polls`` polls; shorter without a token.

        Without one, it is not after ``max_wait``. ``chance`` in [0, 1) is drawn for each poll.
        """
        longest = self.longest_poll_with_token
        if need.token_left <= 0:
            longest = min(self.longest_poll, max(self.call_time(need), self.first_poll))
        step = min(self.first_poll * 2.0 ** min(polls, 16), longest)
        return step / 2 + chance * step / 2

    def renew_interval(self) -> float:
        """Return the seconds between two renewals of a lease: one may fail."""
        return self.lease / 3

    def spread_for(self, keys: int) -> float:
        """Return the spread, in seconds, for a proxy with this many keys.

        With few keys the spread has to separate many proxies. With many keys the calls of one proxy
        are spread already, and limited by ``RefreshPolicy.max_refreshes``.
        """
        return min(self.spread, max(16 * self.spread / max(keys, 1), self.spread / 12))

    @staticmethod
    def probe_every_for(keys: int) -> float:
        """Return ``probe_every`` for a proxy with this many keys: at most five calls per second."""
        return max(PROBE_EVERY, keys / 5)

    def poll_interval(self, keys: int) -> float:
        """Return the seconds between two polls of the follower with this many keys.

        Each key is polled every ``poll_every`` seconds, with very many keys more rarely
        (``poll_rate`` per second in all).
        """
        return max(self.poll_every / max(keys, 1), 1 / self.poll_rate)

    def _may_call(self, need: Need) -> bool:
        return self.call_time(need) >= min(self.shortest_call, self.max_wait / 2)


def applies_to_fleet(reason: TokenFailure) -> bool:
    """Whether the bank would respond with this failure to every proxy of the fleet.

    Other failures may be one machine's, until a second proxy has met them.
    """
    return reason.is_refusal or reason in (kinds.TOKEN_THROTTLED, kinds.TOKEN_SERVER)


def failures_of_fleet(last: RefusalEntry | None, reason: TokenFailure, proxy: str) -> int:
    """Return the number of failures in a row that apply to the fleet, after a call of ``proxy``.

    ``last`` is the failure before, if there is one, ``proxy`` the id of the caller; 0 while a
    failure may be this one machine's.
    """
    if applies_to_fleet(reason):
        return 1 if last is None else last.failures + 1
    if last is None or (last.failures == 0 and last.met_by == proxy):
        return 0
    return last.failures + 1


@dataclass(slots=True)
class CircuitBreaker:
    """Skips a failed store, so that not every call costs a deadline. Times are monotonic seconds.

    After a failure it opens for a time that doubles with each further failure. Then one call is let
    through as a trial, and the others are still refused. A trial that takes more than half of its
    time counts as a failure: a store that is nearly too slow is left alone, without flapping.
    """

    shortest: float = 1.0
    longest: float = 30.0
    failures: int = 0
    retry_at: float = 0.0

    def allows(self, now: float, trial: float) -> bool:
        """Whether the store may be called; a trial call has ``trial`` seconds."""
        if not self.failures:
            return True
        if now < self.retry_at:
            return False
        self.retry_at = now + trial
        return True

    def record_failure(self, now: float, chance: float) -> None:
        """Record a failure; the wait is between half of its step and the whole step."""
        self.failures += 1
        step = min(self.shortest * 2.0 ** min(self.failures - 1, 16), self.longest)
        self.retry_at = now + step / 2 + chance * step / 2

    def is_too_slow(self, seconds: float, trial: float) -> bool:
        """Whether a trial of at most ``trial`` seconds succeeded, but took too long."""
        return self.failures > 0 and seconds > trial / 2

    def record_success(self) -> None:
        """Record a success and close the circuit."""
        self.failures, self.retry_at = 0, 0.0
