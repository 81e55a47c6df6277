"""The open-loop load generator."""

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from bench import openloop
from bench.machine import ROOT
from bench.openloop import LatencyResult, Loop, is_whole, schedule

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Stalling:
    """A server with one pause without responses."""

    def __init__(self, response: bytes = OK, begin: float = 9.0, end: float = 9.0) -> None:
        self._answer = response
        self._stall = (begin, end)
        self._first = 0.0
        self._serving: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[int]:
        """Listen; yield the port."""
        async with await asyncio.start_server(self._serve, "127.0.0.1", 0) as server:
            yield server.sockets[0].getsockname()[1]
            await asyncio.gather(*self._serving)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        while await reader.read(1000):
            self._first = self._first or time.perf_counter()
            at = time.perf_counter() - self._first
            if self._stall[0] <= at < self._stall[1]:
                await asyncio.sleep(self._stall[1] - at)
            writer.write(self._answer)
            if not self._answer:
                break
        writer.close()
        await writer.wait_closed()


async def play(server: Stalling, rate: float, seconds: float) -> LatencyResult:
    """Run the loop with a server."""
    async with server.running() as port:
        due = schedule(rate, seconds, 1)
        return await asyncio.to_thread(lambda: Loop(port, "/", due).run())


def test_schedule_is_random_and_reproducible() -> None:
    """By rate and seed, in order."""
    due = schedule(500, 10, 1)
    assert due == schedule(500, 10, 1) != schedule(500, 10, 2)
    assert due == sorted(due)
    assert len(due) == pytest.approx(5000, rel=0.05)
    assert 0 < due[0] < due[-1] < 10


@pytest.mark.parametrize(
    ("response", "whole"),
    [
        (OK, True),
        (OK[:-1], False),
        (OK[:20], False),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", True),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n", False),
    ],
)
def test_complete_responses_are_recognized(response: bytes, whole: bool) -> None:
    """By length or last chunk."""
    assert is_whole(response) is whole


async def test_every_request_is_measured() -> None:
    """Each with its start in Unix time."""
    before = time.time()
    result = await play(Stalling(), 200, 0.5)
    assert len(result.latencies) == len(result.began) == len(schedule(200, 0.5, 1))
    assert len(result.lateness) == len(result.latencies)
    assert result.failed == 0
    assert all(before <= at <= time.time() for at in result.began)
    assert all(late > 0 for late in result.latencies)


async def test_pause_is_visible_in_all_latencies() -> None:
    """No coordinated omission: of 200 a second, some 40 wait over 0.2 s in a pause of 0.4 s."""
    result = await play(Stalling(begin=0.2, end=0.6), 200, 1.0)
    slow = [late for late in result.latencies if late > 0.2]
    assert len(slow) >= 25
    assert max(slow) > 0.35


@pytest.mark.parametrize("response", [b"", OK.replace(b"200", b"503")])
async def test_failures_are_counted(response: bytes) -> None:
    """A closed connection, and a status other than 2xx."""
    result = await play(Stalling(response), 100, 0.3)
    assert result.failed == len(result.latencies) > 0


async def test_missing_response_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    """The loop ends after a timeout."""
    monkeypatch.setattr(openloop, "PATIENCE", 0.2)
    result = await play(Stalling(begin=0.0, end=2.0), 50, 0.2)
    assert result.failed == len(schedule(50, 0.2, 1))
    assert result.latencies == []


async def test_command_prints_json() -> None:
    """As the bench reads it."""
    async with Stalling().running() as port:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "bench.openloop", str(port), "/", "100", "0.2", "1"),
            stdout=asyncio.subprocess.PIPE,
            cwd=ROOT,
        )
        said, _ = await process.communicate()
    assert len(LatencyResult(**json.loads(said)).latencies) == len(schedule(100, 0.2, 1))
