"""The tokens of one key: what a refusal leads to, for every history."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.tokens.held import HeldTokens, Reaction
from proxy.tokens.refresh_policy import RefreshPolicy
from proxy.tokens.token import Instant, Token
from tests.tokens.harness import HOUR, KEY, SimulatedClock

POLICY = RefreshPolicy()
OUTDATED, FORMER, DROPPED, KEPT = Reaction


@dataclass
class History:
    """Runs steps on the tokens of one key, and records the reactions.

    ``a`` … ``z`` issue a token of that name; ``-a`` refuses, ``+a`` accepts it; ``>`` tries a
    newer one again if it is time; a number advances the clock by seconds.
    """

    lifetime: float = HOUR
    clock: SimulatedClock = field(default_factory=SimulatedClock)
    held: HeldTokens = field(default_factory=HeldTokens)
    tokens: dict[str, Token] = field(default_factory=dict)
    reactions: list[Reaction] = field(default_factory=list)
    dropped: str = ""

    def run(self, steps: Iterable[str | float]) -> None:
        """Run all steps."""
        for step in steps:
            if isinstance(step, str):
                self.step(step)
            else:
                self.clock.advance(step)

    def step(self, step: str) -> None:
        """Run one step of a token."""
        now = self.clock()
        if step == ">":
            self.held.until_retry(now)
        elif step[0] == "-":
            refusal = self.held.refuse(self.tokens[step[1]], now, POLICY)
            self.reactions.append(refusal.reaction)
            self.dropped += "".join(token.text for token in refusal.dropped)
        elif step[0] == "+":
            self.held.accept(self.tokens[step[1]])
        else:
            self.tokens[step] = Token(KEY, step, now, self.lifetime)
            self.held.install(self.tokens[step], now, POLICY)

    @property
    def state(self) -> str:
        """The names of the token in use, the former and the newer one; ``.`` for none."""
        held = (self.held.token, self.held.former, self.held.newer)
        return "".join("." if one is None else one.text for one in held)


@pytest.mark.parametrize(
    ("steps", "reactions", "state", "dropped"),
    [
        # The first refusal is honoured at once, at any age.
        (["a", "-a"], [DROPPED], "...", "a"),
        (["a", 1800.0, "-a", "b"], [DROPPED], "b..", "a"),
        # Requests with the same token that are refused meanwhile, and after the next has come.
        (["a", "-a", "-a", "b", "-a"], [DROPPED, OUTDATED, OUTDATED], "b..", "a"),
        # A replacement that is refused too is kept for the pause; then the pause doubles.
        (["a", "-a", "b", 9.0, "-b"], [DROPPED, KEPT], "b..", "a"),
        (["a", "-a", "b", 10.0, "-b"], [DROPPED, DROPPED], "...", "ab"),
        (["a", "-a", "b", 10.0, "-b", "c", 19.0, "-c"], [DROPPED, DROPPED, KEPT], "c..", "ab"),
        (["a", "-a", "b", 10.0, "-b", "c", 20.0, "-c"], [DROPPED] * 3, "...", "abc"),
        # The renewal of a token that was kept although it was refused is a replacement too.
        (["a", "-a", "b", 1.0, "-b", "c", 19.0, "-c"], [DROPPED, KEPT, KEPT], "c..", "a"),
        # A replacement that helped does not make the pause longer, nor does one without refusals.
        (["a", "-a", "b", "+b", 10.0, "-b", "c", 10.0, "-c"], [DROPPED] * 3, "...", "abc"),
        (
            [
                "a",
                "-a",
                "b",
                10.0,
                "-b",
                "c",
                3300.0,
                "d",
                3300.0,
                "e",
                "-e",
                "-d",
                "f",
                10.0,
                "-f",
            ],
            [DROPPED, DROPPED, FORMER, DROPPED, DROPPED],
            "...",
            "abdef",
        ),
        # A new token is refused while the former lives: a replica does not know it yet.
        (["a", 1800.0, "b", "-b"], [FORMER], "a.b", ""),
        (["a", 1800.0, "b", "-b", "-b"], [FORMER, OUTDATED], "a.b", ""),
        (["a", 1800.0, "b", "-b", 0.9, ">"], [FORMER], "a.b", ""),
        (["a", 1800.0, "b", "-b", 1.0, ">"], [FORMER], "ba.", ""),
        (["a", 1800.0, "b", "-b", 1.0, ">", "-b", 0.9, ">"], [FORMER, FORMER], "a.b", ""),
        (["a", 1800.0, "b", "-b", 1.0, ">", "-b", 1.0, ">"], [FORMER, FORMER], "ba.", ""),
        (["a", 1800.0, "b", 60.0, "-b", 59.0, ">"], [FORMER], "a.b", ""),
        # At the former token's end the newer one is used, and refused for good.
        (["a", 3000.0, "b", 590.0, "-b", 10.0, ">"], [FORMER], "b..", ""),
        (["a", 3000.0, "b", 590.0, "-b", 10.0, ">", "-b"], [FORMER, DROPPED], "...", "b"),
        (["a", 3000.0, "b", 600.0, "-b"], [DROPPED], "...", "b"),
        # Both are refused: both are dropped.
        (["a", 1800.0, "b", "-b", "-a"], [FORMER, DROPPED], "...", "ab"),
        # In the pause, the newer one is tried again, and the former not used any more.
        (
            ["a", "-a", "b", 3.0, "c", "-c", "-b", 1.0, ">", "-c"],
            [DROPPED, FORMER, KEPT, KEPT],
            "c..",
            "a",
        ),
        # A late refusal of the former token: it is dropped.
        (["a", 1800.0, "b", "-a", "-b"], [OUTDATED, DROPPED], "...", "b"),
        # A renewal while the former is in use; and the newer token once more, from the store.
        (["a", 900.0, "b", "-b", "c"], [FORMER], "ca.", ""),
        (["a", 900.0, "b", "-b", "b"], [FORMER], "a.b", ""),
        # A token that expires is no former one.
        (["a", HOUR, "b", "-b"], [DROPPED], "...", "b"),
        ([">", "a", ">"], [], "a..", ""),
    ],
)
def test_reactions(
    steps: list[str | float], reactions: list[Reaction], state: str, dropped: str
) -> None:
    """By what is known of the tokens before."""
    history = History()
    history.run(steps)
    assert (history.reactions, history.state, history.dropped) == (reactions, state, dropped)


@pytest.mark.parametrize(
    ("lifetime", "steps", "is_in_conflict"),
    [
        # Each new token works, and is refused soon: something else fetches tokens.
        (HOUR, ["a", "-a", *["b", "+b", 10.0, "-b"] * 3], True),
        (HOUR, ["a", "-a", *["b", "+b", 1.0, "-b", 9.0, "-b"] * 3], True),
        (20.0, ["a", "-a", *["b", "+b", 1.0, "-b", 9.0, "-b"] * 3], True),
        (HOUR, ["a", "-a", *["b", "+b", 10.0, "-b"] * 2], False),
        # One resource refuses every token.
        (HOUR, ["a", "-a", *["b", 300.0, "-b"] * 9], False),
        # Tokens are revoked late in their life.
        (HOUR, ["a", "-a", *["b", "+b", 1800.0, "-b"] * 9], False),
        # The former token helps, or the newer one when it is tried again.
        (HOUR, ["a", *[1800.0, "b", "-b", "+a", 2.0, ">", "+b"] * 9], False),
        # It is over once a token reaches its renewal.
        (HOUR, ["a", "-a", *["b", "+b", 10.0, "-b"] * 3, "c", "+c", 3300.0, "d"], False),
        # A token that is not in use says nothing.
        (HOUR, ["a", "-a", *["b", "+a", 10.0, "-b"] * 3], False),
    ],
)
def test_conflict(lifetime: float, steps: list[str | float], is_in_conflict: bool) -> None:
    """Replacements that help and do not last."""
    history = History(lifetime)
    history.run(steps)
    assert history.held.is_in_conflict is is_in_conflict


def test_time_until_the_newer_token_is_tried_again() -> None:
    """Infinite without one."""
    history = History()
    history.run(["a", 1800.0, "b", 5.0, "-b", 2.0])
    assert history.held.until_retry(history.clock()) == pytest.approx(3)
    assert history.held.newest is history.tokens["b"]
    assert set(history.held.all) == set(history.tokens.values())
    history.run([3.0])
    assert history.held.until_retry(history.clock()) == math.inf
    assert history.held.until_retry(history.clock()) == math.inf


def test_token_in_use_installed_again_changes_nothing() -> None:
    """It does not become its own former token."""
    history = History()
    history.run(["a"])
    history.held.install(history.tokens["a"], history.clock(), POLICY)
    assert history.state == "a.."


def test_token_before_a_login_is_no_former_one() -> None:
    """It may be another user's; the one after is."""
    history = History()
    history.run(["a"])
    history.held.keeps_former = False
    history.run(["b"])
    assert history.state == "b.."
    history.run(["c"])
    assert history.state == "cb."


def test_newest_token_may_be_shortened() -> None:
    """Whether it is in use or not."""
    history = History()
    history.run(["a", 1800.0, "b"])
    shorter = Token(KEY, "b", history.clock(), 60)
    history.held.shorten(shorter)
    assert history.held.token is shorter
    history.tokens["b"] = shorter
    history.run(["-b"])
    shortest = Token(KEY, "b", history.clock(), 30)
    history.held.shorten(shortest)
    assert (history.held.token, history.held.newer) == (history.tokens["a"], shortest)


@given(st.lists(st.sampled_from(["new", "refuse", "accept", "retry", 0.5, 7.0, 400.0])))
def test_no_expired_token_comes_back(steps: list[str | float]) -> None:
    """And no history causes more than one replacement in five seconds."""
    history, replaced = History(lifetime=600), -math.inf
    for step in steps:
        now, current = history.clock(), history.held.token
        if isinstance(step, float):
            history.clock.advance(step)
        elif step == "new" or current is None:
            history.step("n")
        elif step == "refuse":
            reaction = history.held.refuse(current, now, POLICY).reaction
            if reaction is DROPPED:
                assert now.monotonic >= replaced + 5
                replaced = now.monotonic
            if reaction is FORMER:
                assert history.held.token is not None
                assert history.held.token.is_alive(now)
        elif step == "accept":
            history.held.accept(current)
        else:
            history.held.until_retry(now)
            assert history.held.token is not None
        assert history.held.former is None or history.held.newer is None


def test_wall_clock_ages_a_token_too() -> None:
    """A machine that slept does not use an expired former token."""
    history = History()
    history.run(["a", 1800.0, "b"])
    history.clock.set_wall(1800.0)
    later = history.clock()
    assert isinstance(later, Instant)
    history.run(["-b"])
    assert history.reactions == [DROPPED]
