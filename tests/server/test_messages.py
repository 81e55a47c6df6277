"""Request bodies as they arrive."""

import asyncio

import pytest

from proxy.errors import CallerError, kinds
from proxy.server.messages import NO_BODY, Body, Response


async def test_blocks_are_read_in_order() -> None:
    """Available blocks are read at once; the end is empty."""
    body = Body(None)
    body.feed(b"ab")
    body.feed(b"cd")
    assert await body.read() == b"abcd"
    body.feed(b"e")
    body.finish()
    assert body.complete
    assert await body.read() == b"e"
    assert await body.read() == b""


async def test_reader_waits_for_a_block_or_the_end() -> None:
    """A read returns when a block or the end arrives."""
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


async def test_cancelled_read_loses_nothing() -> None:
    """Later data is there for the next read."""
    body = Body(None)
    reading = asyncio.create_task(body.read())
    await asyncio.sleep(0)
    reading.cancel()
    await asyncio.wait([reading])
    body.feed(b"a")
    assert await body.read() == b"a"


async def test_failure_is_raised_to_readers() -> None:
    """It replaces data that has not been read."""
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


async def test_failure_after_the_end_is_ignored() -> None:
    """A complete body stays readable."""
    body = Body(None)
    body.feed(b"a")
    body.finish()
    body.fail(ConnectionResetError())
    assert await body.read() == b"a"


def test_empty_body_is_complete() -> None:
    """It is complete from the start."""
    assert NO_BODY.complete
    assert NO_BODY.read_available() == b""


def test_response() -> None:
    """A response has remaining bytes and says whether another may follow."""
    assert (Response(keep_alive=True).data, Response(b"x", keep_alive=False).keep_alive) == (
        b"",
        False,
    )
