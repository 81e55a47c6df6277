"""A bad network between the proxy and the bank, made by a relay between two real ends.

Latency, slices, cuts, resets, a black hole, nobody there: for the requests of callers and for the
proxy's own token calls. Each failure has its own reason, in the answer, the log and the metrics,
and comes within its deadline.
"""

import asyncio
import io
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from proxy.sandbox import Sandbox, pattern, pattern_sha256
from tests.support.mounted_files import write
from tests.support.proxy_fixture import House, house, sample
from tests.support.raw_client import connect
from tests.support.running import CLIENT, until
from tests.support.tcp_relay import Relay

DEADLINES = {
    "connect_timeout": "0.5",
    "first_byte_timeout": "0.6",
    "idle_timeout": "0.7",
    "total_timeout": "2",
}
TOKEN = {"timeout": "0.5", "backoff_initial": "0.2", "backoff_max": "0.2"}
SLACK = 1.5
"""Seconds over a deadline that a busy machine may need."""


@dataclass
class Line:
    """A proxy whose bank is at the other end of a relay."""

    home: House
    relay: Relay

    async def fails(self, status: int, reason: str, within: float) -> None:
        """Send a request that fails like this, and for no other reason."""
        began = time.monotonic()
        async with self.home.caller.get("/echo") as answer:
            assert answer.status == status
            assert answer.headers["x-proxy-error-source"] == "upstream"
            assert (await answer.json(content_type=None))["type"].endswith(f":{reason}")
        assert time.monotonic() - began < within + SLACK
        self.told(reason)

    def told(self, reason: str) -> None:
        """Expect this reason, and no other, in log and metric."""
        app, lines = self.home.app, self.home.book.lines("request")
        assert [line["reason"] for line in lines if "reason" in line] == [reason]
        counted = sample(app, "candescent_proxy_errors_total", reason=reason)
        assert (counted, sample(app, "candescent_proxy_errors_total")) == (1, 1)

    async def works(self) -> None:
        """Expect that the next good request works."""
        self.relay.heal()
        assert await self.home.call() == 200

    async def cut(self, path: str) -> tuple[bytes, float]:
        """Send a request whose answer is cut; return what came of it, and the seconds it took."""
        began = time.monotonic()
        async with connect(self.home.app) as wire:
            await wire.send(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            received = b""
            try:
                while block := await wire.reader.read(65_536):
                    received += block
            except ConnectionError:
                return received, time.monotonic() - began
        raise AssertionError(f"a clean end after {len(received)} bytes")


@pytest.fixture
async def line(tmp_path: Path) -> AsyncIterator[Line]:
    """A proxy that is ready, its bank, and all well between them."""
    write(tmp_path / "secret", CLIENT["client_secret"])
    async with Sandbox() as bank, Relay(int(bank.url.rpartition(":")[2])) as relay:
        settings: dict[str, Any] = {
            "base_url": f"http://127.0.0.1:{relay.port}",
            "client_secret_file": str(tmp_path / "secret"),
            "upstream": DEADLINES,
            "token": TOKEN,
        }
        async with house(tmp_path / "proxy.yaml", bank, **settings) as home:
            yield Line(home, relay)


# What delays, and breaks nothing.


async def test_latency(line: Line) -> None:
    """Answers are late, whole, and nobody's error."""
    line.relay.there.latency = line.relay.back.latency = 0.1
    began = time.monotonic()
    assert await line.home.call() == 200
    assert time.monotonic() - began > 0.2
    assert line.home.book.lines("request")[0]["upstream_ms"] > 200


@pytest.mark.parametrize("size", [1, 7, 100])
async def test_bytes_in_slices(line: Line, size: int) -> None:
    """However the bytes are cut into segments, both ways, the answer is the same."""
    line.relay.there.slice = line.relay.back.slice = size
    amount = min(5000, 500 * size)  # a busy machine needs its time for each slice
    for query in (f"bytes={amount}", f"bytes={amount}&chunked=1"):
        async with line.home.caller.get(f"/download?{query}") as answer:
            assert len(await answer.read()) == amount
    async with line.home.caller.post("/upload", data=b"".join(pattern(amount))) as answer:
        assert (await answer.json())["sha256"] == pattern_sha256(amount)


async def test_outage_that_ends_in_time(line: Line) -> None:
    """A hole in the network that heals before the deadline costs time and nothing else."""
    line.relay.back.hole = True
    calling = asyncio.create_task(line.home.call())
    await until(lambda: line.home.bank.bank.arrivals)
    line.relay.back.hole = False
    assert await calling == 200
    assert len(line.home.bank.bank.arrivals) == 1


# What fails.


async def test_nobody_there(line: Line) -> None:
    """Connections are refused: 502 at once."""
    line.relay.refuse()
    await line.fails(502, "upstream-connect", within=0)
    await line.relay.accept()
    await line.works()


async def test_black_hole(line: Line) -> None:
    """The request goes out and nothing comes: 504 when the first byte is due."""
    line.relay.there.hole = True
    await line.fails(504, "upstream-first-byte-timeout", within=0.6)
    await line.works()


async def test_end_instead_of_an_answer(line: Line) -> None:
    """The connection ends before a byte of an answer: 502, once, on a new connection."""
    line.relay.back.cut_after = 0
    await line.fails(502, "upstream-closed", within=0)
    # Of this request: another test's proxy may still be looking for a bank that had this port.
    arrivals = [arrival for arrival in line.home.bank.bank.arrivals if arrival.target == "/echo"]
    assert len(arrivals) == 1
    await line.works()


@pytest.mark.parametrize("after", [0, 1, 20, 100])
async def test_reset_within_the_head(line: Line, after: int) -> None:
    """Half a head is no answer: 502, and the request is not sent again."""
    line.relay.back.reset_after = after
    await line.fails(502, "upstream-closed", within=0)
    assert len(line.home.bank.bank.arrivals) == 1
    await line.works()


@pytest.mark.parametrize("fault", ["cut_after", "reset_after"])
@pytest.mark.parametrize("chunked", [0, 1])
async def test_end_within_the_body(line: Line, fault: str, chunked: int) -> None:
    """The caller has part of the answer, so its connection is cut: never a clean end."""
    setattr(line.relay.back, fault, 200_000)
    received, _ = await line.cut(f"/download?bytes=1000000&chunked={chunked}")
    assert received.startswith(b"HTTP/1.1 200")
    line.told("upstream-truncated")
    await line.works()


async def test_hole_within_the_body(line: Line) -> None:
    """A body that stops coming: the caller is cut off when its idle time is over."""
    line.relay.back.bandwidth = 2_000_000
    line.relay.back.slice = 10_000
    calling = asyncio.create_task(line.cut("/download?bytes=1000000"))
    await until(lambda: line.relay.back.passed > 200_000)
    line.relay.back.hole = True
    line.relay.back.bandwidth = 0
    _, seconds = await calling
    assert seconds < 0.7 + SLACK
    line.told("upstream-idle-timeout")
    await line.works()


async def test_body_without_end(line: Line) -> None:
    """A body that dribbles for ever is cut off when the whole exchange has taken too long."""
    line.relay.back.slice = 100
    line.relay.back.bandwidth = 1000
    _, seconds = await line.cut("/download?bytes=1000000")
    assert 1.9 < seconds < 2 + SLACK
    line.told("upstream-total-timeout")
    await line.works()


async def test_reset_of_an_idle_connection(line: Line) -> None:
    """A firewall that forgets idle connections costs no request: none is sent on a dead one."""
    assert await line.home.call() == 200
    line.relay.reset_all()
    await until(
        lambda: line.home.app.pool.idle_count == 0 or not line.home.app.pool._idle[0].is_alive()
    )
    for method in ("GET", "POST"):
        assert await line.home.call(method=method) == 200
    assert sample(line.home.app, "candescent_proxy_errors_total") == 0


@pytest.mark.parametrize(("method", "status"), [("GET", 200), ("HEAD", 200), ("POST", 502)])
async def test_reset_of_a_reused_connection(line: Line, method: str, status: int) -> None:
    """A reset under a request: a safe one goes out once more, on a new connection, counted."""
    assert await line.home.call() == 200
    line.relay.there.reset_after, line.relay.there.once = 0, True
    assert await line.home.call(method=method) == status
    replays = sample(line.home.app, "candescent_proxy_replays_total")
    assert replays == (1 if status == 200 else 0)


async def test_upload_into_a_hole(line: Line) -> None:
    """An upload that nobody takes ends with a 504, and the caller is not left hanging."""
    line.relay.there.hole = True
    began = time.monotonic()
    async with line.home.caller.post("/upload", data=io.BytesIO(b"x" * 20_000_000)) as answer:
        assert answer.status == 504
    assert time.monotonic() - began < 2 + SLACK
    line.told("upstream-first-byte-timeout")
    await line.works()


# The proxy's own calls.


@dataclass(frozen=True)
class Outage:
    """What is done to the relay, and the reason that a token call then fails for."""

    reason: str
    within: float
    settings: tuple[tuple[str, Any], ...] = ()

    def begin(self, relay: Relay) -> None:
        """Break the network."""
        for name, value in self.settings:
            setattr(relay.back, name, value)
        if not self.settings:
            relay.refuse()


OUTAGES = {
    "nobody there": Outage("unreachable", 0),
    "black hole": Outage("timeout", 0.5, (("hole", True),)),
    "end instead of an answer": Outage("unreachable", 0, (("cut_after", 0),)),
    "reset instead of an answer": Outage("unreachable", 0, (("reset_after", 0),)),
    "end within the head": Outage("unreachable", 0, (("cut_after", 20),)),
    "end within the body": Outage("malformed", 0, (("cut_after", 250),)),
    "too slow": Outage("timeout", 0.5, (("slice", 1), ("bandwidth", 100.0))),
}


@pytest.mark.parametrize("name", OUTAGES)
async def test_token_call_over_a_bad_network(line: Line, name: str) -> None:
    """It fails for its own reason and in time; the token in use is served; then all is well."""
    outage = OUTAGES[name]
    outage.begin(line.relay)
    (entry,) = line.home.app.tokens.entries()
    before, began = entry.token, time.monotonic()
    line.home.app.tokens.start_refresh(entry)
    await until(lambda: line.home.book.lines("token refresh failed"))
    assert time.monotonic() - began < outage.within + SLACK
    assert line.home.book.lines("token refresh failed")[0]["reason"] == outage.reason
    failures = "candescent_proxy_token_refresh_failures_total"
    assert sample(line.home.app, failures) == sample(line.home.app, failures, reason=outage.reason)
    assert entry.token is before
    line.relay.heal()
    if not outage.settings:
        await line.relay.accept()
    await line.works()
    # The failure has put the next try off by a back-off step, which is due by itself.
    entry.refresh_age = 0.0
    line.home.app.tokens.on_change()
    await until(lambda: entry.token is not before)
    assert entry.failures == 0


@pytest.mark.parametrize("setting", [("latency", 0.1), ("slice", 1)])
async def test_token_call_that_is_only_delayed(line: Line, setting: tuple[str, Any]) -> None:
    """A slow way to the token endpoint is no failure as long as it is in time."""
    setattr(line.relay.back, *setting)
    (entry,) = line.home.app.tokens.entries()
    before = entry.token
    line.home.app.tokens.start_refresh(entry)
    await until(lambda: entry.fetch is None)
    assert entry.token is not before
    assert line.home.book.lines("token refresh failed") == []
