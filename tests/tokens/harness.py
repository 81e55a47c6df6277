"""A token cache and refresher for tests, with a simulated clock and token source."""

import asyncio
from dataclasses import dataclass, field

from proxy.errors import TokenError, TokenFailure, kinds
from proxy.telemetry.events import Event
from proxy.tokens.cache import Entry, TokenCache
from proxy.tokens.refresh_policy import RefreshPolicy
from proxy.tokens.refresher import Refresher
from proxy.tokens.token import Instant, Token, TokenKey, TokenKind
from tests.support.running import until

HOUR = 3600.0
KEY = TokenKey(TokenKind.V2, "00016")
OTHER = TokenKey(TokenKind.V2, "00017")


@dataclass
class SimulatedClock:
    """A monotonic and a wall clock that tests advance."""

    monotonic: float = 10_000.0
    wall: float = 1_800_000_000.0

    def __call__(self) -> Instant:
        """Return the current time."""
        return Instant(self.monotonic, self.wall)

    def advance(self, seconds: float) -> None:
        """Advance both clocks."""
        self.monotonic += seconds
        self.wall += seconds

    def set_wall(self, seconds: float) -> None:
        """Change the wall clock only."""
        self.wall += seconds


@dataclass
class FakeTokenSource:
    """A token source that records its calls and returns a token or raises an error.

    A call takes ``call_seconds`` of the simulated clock; ``errors`` are by institution.
    """

    clock: SimulatedClock
    lifetime: float = HOUR
    call_seconds: float = 0.0
    errors: dict[str, Exception] = field(default_factory=dict)
    requested_keys: list[TokenKey] = field(default_factory=list)
    may_answer: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        """Permit calls."""
        self.may_answer.set()

    async def token(self, key: TokenKey) -> Token:
        """Return a token, or raise the institution's error."""
        asked = self.clock()
        self.requested_keys.append(key)
        await self.may_answer.wait()
        self.clock.advance(self.call_seconds)
        if key.institution in self.errors:
            raise self.errors[key.institution]
        return Token(key, f"token-{len(self.requested_keys)}", asked, self.lifetime)

    def fail(self, error: Exception, key: TokenKey = KEY) -> None:
        """Raise an error for this institution from now on."""
        self.errors[key.institution] = error


class TokenHarness:
    """A cache and its refresher in front of a token source, on one clock. ``events`` are theirs.

    The refresher's loop does not run; ``advance`` runs its steps when they are due.
    """

    def __init__(
        self,
        *,
        chance: float = 0.0,
        idle: float = HOUR,
        capacity: int = 4096,
        can_replace: bool = True,
        policy: RefreshPolicy = RefreshPolicy(),  # noqa: B008 - frozen
    ) -> None:
        self.clock = SimulatedClock()
        self.source = FakeTokenSource(self.clock)
        self.events: list[Event] = []
        self.cache = TokenCache(
            self.source,
            policy,
            clock=self.clock,
            chance=lambda: chance,
            emit=self.events.append,
            sleep=self._sleep,
            capacity=capacity,
            can_replace=can_replace,
        )
        self.refresher = Refresher(self.cache, policy, clock=self.clock, idle=idle)

    async def _sleep(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @property
    def requested_keys(self) -> list[TokenKey]:
        """Return the requested keys in order."""
        return self.source.requested_keys

    def entry(self, key: TokenKey = KEY) -> Entry:
        """Return the cache entry of a key."""
        return next(entry for entry in self.cache.entries() if entry.key == key)

    def knows(self, key: TokenKey) -> bool:
        """Whether the cache has an entry for a key."""
        return key in [entry.key for entry in self.cache.entries()]

    async def step(self) -> float:
        """Run one step of the refresher and its refreshes; return the seconds until the next."""
        self.refresher.step()
        await self.settle()
        return self.refresher.step()

    async def wait_for_request(self) -> None:
        """Wait until the token source has been called."""
        await until(lambda: self.requested_keys)

    async def settle(self) -> None:
        """Wait until no refresh is in flight."""
        while fetches := [e.fetch for e in self.cache.entries() if e.fetch is not None]:
            await asyncio.wait(fetches)

    async def advance(self, seconds: float, *, stride: float = 0.05) -> None:
        """Advance the clock and run the refresher's steps when they are due.

        Steps are at least ``stride`` seconds apart, so that a tight loop ends.
        """
        end = self.clock.monotonic + seconds
        while self.clock.monotonic < end:
            wait = await self.step()
            self.clock.advance(min(max(wait, stride), end - self.clock.monotonic))
        _ = await self.step()


def failure(
    reason: TokenFailure = kinds.TOKEN_SERVER, *, retry_after: float | None = None
) -> TokenError:
    """Return a token error."""
    return TokenError(reason, "The bank is closed.", retry_after=retry_after)
