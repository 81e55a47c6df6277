"""A workbench for the token's way: a clock turned by hand, and a bank in a few lines."""

import asyncio
from dataclasses import dataclass, field

from proxy.errors import TokenError, TokenFailure, kinds
from proxy.telemetry.events import Event
from proxy.tokens.cache import Entry, TokenCache
from proxy.tokens.refresher import Refresher
from proxy.tokens.token import Instant, RefreshPolicy, Token, TokenKey, TokenKind
from tests.support.running import until

HOUR = 3600.0
KEY = TokenKey(TokenKind.V2, "00016")
OTHER = TokenKey(TokenKind.V2, "00017")


@dataclass
class TurnableClock:
    """Two clocks that stand until they are turned."""

    monotonic: float = 10_000.0
    wall: float = 1_800_000_000.0

    def __call__(self) -> Instant:
        """Return this moment."""
        return Instant(self.monotonic, self.wall)

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.monotonic += seconds
        self.wall += seconds

    def set_wall(self, seconds: float) -> None:
        """Step the wall clock, as an administrator does, or a machine that has slept."""
        self.wall += seconds


@dataclass
class FakeTokenSource:
    """A token source: counts who asks, and gives a token or an error when it may.

    ``call_seconds`` is what an answer takes, by the clock; ``errors`` are by institution.
    """

    clock: TurnableClock
    lifetime: float = HOUR
    call_seconds: float = 0.0
    errors: dict[str, Exception] = field(default_factory=dict)
    requested_keys: list[TokenKey] = field(default_factory=list)
    may_answer: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        """Open the counter."""
        self.may_answer.set()

    async def token(self, key: TokenKey) -> Token:
        """Give a token, as law 3 wants it."""
        asked = self.clock()
        self.requested_keys.append(key)
        await self.may_answer.wait()
        self.clock.advance(self.call_seconds)
        if key.institution in self.errors:
            raise self.errors[key.institution]
        return Token(key, f"token-{len(self.requested_keys)}", asked, self.lifetime)

    def fail(self, error: Exception, key: TokenKey = KEY) -> None:
        """From now on refuse this institution."""
        self.errors[key.institution] = error


class TokenHarness:
    """A cache and its refresher before a teller, all on one clock. ``events`` is what they told.

    The refresher's loop does not run: ``advance`` takes its steps, as often as they are due.
    """

    def __init__(
        self,
        *,
        chance: float = 0.0,
        idle: float = HOUR,
        capacity: int = 4096,
        policy: RefreshPolicy = RefreshPolicy(),  # noqa: B008 - frozen
    ) -> None:
        self.clock = TurnableClock()
        self.source = FakeTokenSource(self.clock)
        self.events: list[Event] = []
        self.cache = TokenCache(
            self.source,
            policy,
            clock=self.clock,
            chance=lambda: chance,
            emit=self.events.append,
            capacity=capacity,
        )
        self.refresher = Refresher(self.cache, policy, clock=self.clock, idle=idle)

    @property
    def requested_keys(self) -> list[TokenKey]:
        """Return every key that the bank was asked for, in order."""
        return self.source.requested_keys

    def entry(self, key: TokenKey = KEY) -> Entry:
        """Return what the cache knows about a key."""
        return next(entry for entry in self.cache.entries() if entry.key == key)

    def knows(self, key: TokenKey) -> bool:
        """Whether the cache holds the key at all."""
        return key in [entry.key for entry in self.cache.entries()]

    async def step(self) -> float:
        """Let the refresher look once and what it starts end; return when it looks again."""
        self.refresher.step()
        await self.settle()
        return self.refresher.step()

    async def wait_for_request(self) -> None:
        """Wait until a request has reached the bank."""
        await until(lambda: self.requested_keys)

    async def settle(self) -> None:
        """Wait until no token request is under way."""
        while fetches := [e.fetch for e in self.cache.entries() if e.fetch is not None]:
            await asyncio.wait(fetches)

    async def advance(self, seconds: float, *, stride: float = 0.05) -> None:
        """Let time pass as the refresher sees it: it looks when something is due.

        It never looks more often than every ``stride`` seconds, which bounds a loop gone wild.
        """
        end = self.clock.monotonic + seconds
        while self.clock.monotonic < end:
            wait = await self.step()
            self.clock.advance(min(max(wait, stride), end - self.clock.monotonic))
        _ = await self.step()


def failure(
    reason: TokenFailure = kinds.TOKEN_SERVER, *, retry_after: float | None = None
) -> TokenError:
    """Return an error of the bank's."""
    return TokenError(reason, "The bank is closed.", retry_after=retry_after)
