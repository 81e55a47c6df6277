"""A part of the comparison with nginx that is the same each time; ``make fuzz`` does more."""

import asyncio

from tests.fuzz.differential import KNOWN, PAYLOADS, Outcome, compare, mutations, smuggles
from tests.support.needs import programs


@programs("nginx")
def test_differences_from_nginx_are_explained() -> None:
    """And no payload, nor a change of one, smuggles a request."""
    assert asyncio.run(compare([*PAYLOADS.items(), *mutations(20, seed=1)])) == []


def test_explanations_are_of_payloads() -> None:
    """None is left over."""
    assert set(KNOWN) <= set(PAYLOADS)


def test_smuggled_request_is_found() -> None:
    """More requests than were sent, or one that was not."""
    one = ("GET", "/g", b"")
    assert smuggles(PAYLOADS["plain"], Outcome((200, 200), (one, one)))
    assert smuggles(PAYLOADS["two"], Outcome((200,), (one, ("GET", "/inner", b""))))
    assert not smuggles(PAYLOADS["two"], Outcome((200, 200), (one, one)))
