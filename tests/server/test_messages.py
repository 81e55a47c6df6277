"""A caller's body, as it comes."""

import asyncio

import pytest

from proxy.errors import CallerError, kinds
from proxy.server.messages import NO_BODY, Body, Response


async def test_blocks_in_their_order() -> None:
    """What has come is read in one go; at the end there is nothing."""
    body = Body(None)
    body.feed(b"ab")
    body.feed(b"cd")
    assert await body.read() == b"abcd"
    body.feed(b"e")
    body.finish()
    assert body.complete
    assert await body.read() == b"e"
    assert await body.read() == b""


async def test_reader_waits() -> None:
    """Until a block comes, or the end."""
    body = Body(None)
    reading = asyncio.create_task(body.read())
    await asyncio.sleep(0)
    assert not reading.done()
    body.feed(b"a")
    assert await reading == b"a"
    reading = asyncio.create_task(body.read())
    await asyncio.sleep(0)
    body.finish()
    assert await reading == b""


async def test_reader_that_gave_up_loses_nothing() -> None:
    """What comes after a cancelled read is there for the next."""
    body = Body(None)
    reading = asyncio.create_task(body.read())
    await asyncio.sleep(0)
    reading.cancel()
    await asyncio.wait([reading])
    body.feed(b"a")
    assert await body.read() == b"a"


async def test_failure() -> None:
    """A reader gets the error, whether it waits or comes later, and not what came before."""
    body = Body(None)
    reading = asyncio.create_task(body.read())
    await asyncio.sleep(0)
    body.fail(CallerError(kinds.BAD_BODY))
    with pytest.raises(CallerError):
        await reading
    body.feed(b"a")
    with pytest.raises(CallerError):
        body.read_available()
    assert not body.complete


async def test_failure_after_the_end_is_none() -> None:
    """A body that is all here is good, whatever becomes of its caller."""
    body = Body(None)
    body.feed(b"a")
    body.finish()
    body.fail(ConnectionResetError())
    assert await body.read() == b"a"


def test_no_body() -> None:
    """It is complete from the start."""
    assert NO_BODY.complete
    assert NO_BODY.read_available() == b""


def test_answer() -> None:
    """Its bytes, if there are any left, and whether another may follow."""
    assert (Response(keep_alive=True).data, Response(b"x", keep_alive=False).keep_alive) == (
        b"",
        False,
    )
