"""The attacks: each takes what one caller can take, and holds it."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from multiprocessing.synchronize import Event

from tests.support.raw_client import request

LINES = b"".join(b"X-%d: %b\r\n" % (number, b"x" * 7400) for number in range(8))
HEAD = b"GET /echo HTTP/1.1\r\nHost: localhost\r\n" + LINES
SLOW_HEAD = b"GET /slow?seconds=30 HTTP/1.1\r\nHost: localhost\r\n" + LINES + b"\r\n"
OPENING = 2.0
"""Seconds that the attacker waits for a connection."""

BATCH = 500
"""Connections that it opens at once."""

HELLO = bytes.fromhex("1603010200010001fc0303") + b"x" * 250
UPLOAD = request("POST", "/upload", "Content-Length: 1000000")
MANY_CHUNKS = request("POST", "/upload", "Transfer-Encoding: chunked") + b"2\r\nxy\r\n" * 30_000


@dataclass(frozen=True, slots=True)
class Attack:
    """Connections to a port (``main``, ``admin``, ``tls``), each of which sends ``data``.

    ``more`` is sent afterwards. ``files`` is the limit of open files of the proxy. ``unread`` lets
    the bank read no uploads.
    """

    name: str
    count: int
    data: bytes
    more: bytes = b""
    port: str = "main"
    files: int = 4096
    unread: bool = False


SLOW = request("GET", "/slow?seconds=30")
ATTACKS = [
    Attack("admin port: silent connections", 1100, b"", port="admin", files=1024),
    Attack("admin port: unfinished heads of 48 kB", 3000, HEAD[:48_000], port="admin"),
    Attack("TLS: silent connections", 1100, b"", port="tls", files=1024),
    Attack("TLS: half a ClientHello", 5000, HELLO, port="tls"),
    Attack("unfinished heads of 60 kB", 2000, HEAD),
    Attack("62 pipelined heads of 60 kB", 100, SLOW, (HEAD + b"\r\n") * 62),
    Attack("5,000 pipelined small requests", 500, SLOW + request("GET", "/") * 5000),
    Attack("waiting requests with heads of 60 kB", 1500, SLOW_HEAD),
    Attack("uploads that the bank does not read", 1000, UPLOAD, b"x" * 300_000, unread=True),
    Attack("uploads in chunks of two bytes", 500, MANY_CHUNKS, unread=True),
    Attack("128 slow uploads", 128, UPLOAD + b"x"),
    Attack("128 downloads that are not read", 128, request("GET", "/download?bytes=99000000")),
]

Connect = Callable[[], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]


async def attack(plan: Attack, connect: Connect) -> list[asyncio.StreamWriter]:
    """Open the connections and send; return them to be held."""
    writers: list[asyncio.StreamWriter] = []

    async def open_one() -> None:
        with suppress(OSError, TimeoutError):
            async with asyncio.timeout(OPENING):
                _, writer = await connect()
            if "not read" in plan.name:
                writer.transport.pause_reading()  # type: ignore[attr-defined]  # it can
            writers.append(writer)
            writer.write(plan.data)

    for at in range(0, plan.count, BATCH):
        await asyncio.gather(*(open_one() for _ in range(min(BATCH, plan.count - at))))
    await asyncio.sleep(0.3)
    for writer in writers:
        writer.write(plan.more)
        await asyncio.sleep(0)
    return writers


def hold(plan: Attack, where: tuple[str, int], has_begun: Event) -> None:
    """Attack until killed. ``has_begun`` is set when everything has been sent."""

    async def run() -> None:
        writers = await attack(plan, partial(asyncio.open_connection, *where))
        has_begun.set()
        await asyncio.sleep(3600 + len(writers))

    asyncio.run(run())


async def made_up_names(connect: Connect) -> None:
    """Send 5,000 long paths and 2,500 long header names on one connection."""
    reader, writer = await connect()
    for number in range(7500):
        path, name = (b"p" * 8000, b"X") if number < 5000 else (b"p", b"n" * 8000)
        lines = b"GET /%b%d HTTP/1.1\r\nHost: localhost\r\n%b%d: x\r\n\r\n"
        writer.write(lines % (path, number, name, number))
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
        await reader.readexactly(length)
    writer.close()
