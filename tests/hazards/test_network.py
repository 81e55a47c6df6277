"""A faulty network between proxy and bank, made by a relay.

Latency, fragments, truncation, resets, black holes and closed ports, for requests and for token
calls. Each failure has its own reason in response, log and metrics, within its deadline.
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
from tests.support.proxy_fixture import ProxyFixture, proxy_fixture, sample
from tests.support.raw_client import connect
from tests.support.running import CLIENT, until
from tests.support.tcp_relay import TcpRelay

DEADLINES = {
    "connect_timeout": "0.5",
    "first_byte_timeout": "0.6",
    "idle_timeout": "0.7",
    "total_timeout": "2",
}
TOKEN = {"timeout": "0.5", "backoff_initial": "0.2", "backoff_max": "0.2"}


@dataclass
class RelayedProxy:
    """A proxy whose bank is behind a relay."""

    fixture: ProxyFixture
    relay: TcpRelay

    async def fails(self, status: int, reason: str) -> None:
        """Send a request that fails with this status and reason only."""
        async with self.fixture.caller.get("/echo") as response:
            assert response.status == status
            assert response.headers["x-proxy-error-source"] == "upstream"
            assert (await response.json(content_type=None))["type"].endswith(f":{reason}")
        self.expect_reported(reason)

    def expect_reported(self, reason: str) -> None:
        """Expect this reason only in log and metric."""
        app, lines = self.fixture.app, self.fixture.log.lines("request")
        assert [
            relayed_proxy["reason"] for relayed_proxy in lines if "reason" in relayed_proxy
        ] == [reason]
        counted = sample(app, "candescent_proxy_errors_total", reason=reason)
        assert (counted, sample(app, "candescent_proxy_errors_total")) == (1, 1)

    async def works(self) -> None:
        """Expect that the next request succeeds."""
        self.relay.restore()
        assert await self.fixture.call() == 200

    async def truncated(self, path: str) -> tuple[bytes, float]:
        """Send a request whose response is truncated; return the outcome and its duration."""
        began = time.monotonic()
        async with connect(self.fixture.app) as wire:
            await wire.send(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            received = b""
            try:
                while block := await wire.reader.read(65_536):
                    received += block
            except ConnectionError:
                return received, time.monotonic() - began
        raise AssertionError(f"a clean end after {len(received)} bytes")


@pytest.fixture
async def relayed_proxy(tmp_path: Path) -> AsyncIterator[RelayedProxy]:
    """A ready proxy and its bank, without faults."""
    write(tmp_path / "secret", CLIENT["client_secret"])
    async with Sandbox() as bank, TcpRelay(int(bank.url.rpartition(":")[2])) as relay:
        settings: dict[str, Any] = {
            "base_url": f"http://127.0.0.1:{relay.port}",
            "client_secret_file": str(tmp_path / "secret"),
            "upstream": DEADLINES,
            "token": TOKEN,
        }
        async with proxy_fixture(tmp_path / "proxy.yaml", bank, **settings) as fixture:
            yield RelayedProxy(fixture, relay)


# Delays.


async def test_latency_is_not_an_error(relayed_proxy: RelayedProxy) -> None:
    """Responses are late and complete."""
    relayed_proxy.relay.there.latency = relayed_proxy.relay.back.latency = 0.1
    began = time.monotonic()
    assert await relayed_proxy.fixture.call() == 200
    assert time.monotonic() - began > 0.2
    assert relayed_proxy.fixture.log.lines("request")[0]["upstream_ms"] > 200


@pytest.mark.parametrize("size", [1, 7, 100])
async def test_fragments_are_reassembled(relayed_proxy: RelayedProxy, size: int) -> None:
    """The response does not depend on segments in either direction."""
    relayed_proxy.relay.there.slice = relayed_proxy.relay.back.slice = size
    amount = min(5000, 500 * size)  # a busy machine needs time for each fragment
    for query in (f"bytes={amount}", f"bytes={amount}&chunked=1"):
        async with relayed_proxy.fixture.caller.get(f"/download?{query}") as response:
            assert len(await response.read()) == amount
    async with relayed_proxy.fixture.caller.post(
        "/upload", data=b"".join(pattern(amount))
    ) as response:
        assert (await response.json())["sha256"] == pattern_sha256(amount)


async def test_short_outage_is_not_an_error(relayed_proxy: RelayedProxy) -> None:
    """An outage that ends before the deadline only costs time."""
    relayed_proxy.relay.back.drops_bytes = True
    calling = asyncio.create_task(relayed_proxy.fixture.call())
    await until(lambda: relayed_proxy.fixture.bank.bank.arrivals)
    relayed_proxy.relay.back.drops_bytes = False
    assert await calling == 200
    assert len(relayed_proxy.fixture.bank.bank.arrivals) == 1


# Failures.


async def test_refused_connection_is_a_502(relayed_proxy: RelayedProxy) -> None:
    """At once."""
    relayed_proxy.relay.refuse()
    await relayed_proxy.fails(502, "upstream-connect")
    await relayed_proxy.relay.accept()
    await relayed_proxy.works()


async def test_black_hole_is_a_504(relayed_proxy: RelayedProxy) -> None:
    """At the first-byte deadline."""
    relayed_proxy.relay.there.drops_bytes = True
    await relayed_proxy.fails(504, "upstream-first-byte-timeout")
    await relayed_proxy.works()


async def test_eof_instead_of_a_response_is_a_502(relayed_proxy: RelayedProxy) -> None:
    """Once, on a new connection."""
    relayed_proxy.relay.back.cut_after = 0
    await relayed_proxy.fails(502, "upstream-closed")
    # Of this request: a proxy of another test may still retry a bank that had this port.
    arrivals = [
        arrival for arrival in relayed_proxy.fixture.bank.bank.arrivals if arrival.target == "/echo"
    ]
    assert len(arrivals) == 1
    await relayed_proxy.works()


@pytest.mark.parametrize("after", [0, 1, 20, 100])
async def test_reset_within_the_head_is_a_502(relayed_proxy: RelayedProxy, after: int) -> None:
    """The request is not sent again."""
    relayed_proxy.relay.back.reset_after = after
    await relayed_proxy.fails(502, "upstream-closed")
    assert len(relayed_proxy.fixture.bank.bank.arrivals) == 1
    await relayed_proxy.works()


@pytest.mark.parametrize("fault", ["cut_after", "reset_after"])
@pytest.mark.parametrize("chunked", [0, 1])
async def test_truncated_body_resets_the_caller(
    relayed_proxy: RelayedProxy, fault: str, chunked: int
) -> None:
    """It never sees a clean end."""
    setattr(relayed_proxy.relay.back, fault, 200_000)
    received, _ = await relayed_proxy.truncated(f"/download?bytes=1000000&chunked={chunked}")
    assert received.startswith(b"HTTP/1.1 200")
    relayed_proxy.expect_reported("upstream-truncated")
    await relayed_proxy.works()


async def test_stopped_body_resets_the_caller(relayed_proxy: RelayedProxy) -> None:
    """At the idle deadline."""
    relayed_proxy.relay.back.bandwidth = 2_000_000
    relayed_proxy.relay.back.slice = 10_000
    calling = asyncio.create_task(relayed_proxy.truncated("/download?bytes=1000000"))
    await until(lambda: relayed_proxy.relay.back.passed > 200_000)
    relayed_proxy.relay.back.drops_bytes = True
    relayed_proxy.relay.back.bandwidth = 0
    await calling
    relayed_proxy.expect_reported("upstream-idle-timeout")
    await relayed_proxy.works()


async def test_endless_slow_body_resets_the_caller(relayed_proxy: RelayedProxy) -> None:
    """At the total deadline."""
    relayed_proxy.relay.back.slice = 100
    relayed_proxy.relay.back.bandwidth = 1000
    _, seconds = await relayed_proxy.truncated("/download?bytes=1000000")
    assert seconds > 1.9
    relayed_proxy.expect_reported("upstream-total-timeout")
    await relayed_proxy.works()


async def test_reset_of_an_idle_connection_costs_no_request(relayed_proxy: RelayedProxy) -> None:
    """No request is sent on a dead connection."""
    assert await relayed_proxy.fixture.call() == 200
    relayed_proxy.relay.reset_all()
    await until(
        lambda: (
            relayed_proxy.fixture.app.pool.idle_count == 0
            or not relayed_proxy.fixture.app.pool._idle[0].is_alive()
        )
    )
    for method in ("GET", "POST"):
        assert await relayed_proxy.fixture.call(method=method) == 200
    assert sample(relayed_proxy.fixture.app, "candescent_proxy_errors_total") == 0


@pytest.mark.parametrize(("method", "status"), [("GET", 200), ("HEAD", 200), ("POST", 502)])
async def test_reset_of_a_reused_connection(
    relayed_proxy: RelayedProxy, method: str, status: int
) -> None:
    """A safe request is sent once more on a new connection, and counted."""
    assert await relayed_proxy.fixture.call() == 200
    relayed_proxy.relay.there.reset_after, relayed_proxy.relay.there.once = 0, True
    assert await relayed_proxy.fixture.call(method=method) == status
    replays = sample(relayed_proxy.fixture.app, "candescent_proxy_replays_total")
    assert replays == (1 if status == 200 else 0)


async def test_blocked_upload_is_a_504(relayed_proxy: RelayedProxy) -> None:
    """The caller gets the response."""
    relayed_proxy.relay.there.drops_bytes = True
    async with relayed_proxy.fixture.caller.post(
        "/upload", data=io.BytesIO(b"x" * 20_000_000)
    ) as response:
        assert response.status == 504
    relayed_proxy.expect_reported("upstream-first-byte-timeout")
    await relayed_proxy.works()


# Token calls.


@dataclass(frozen=True)
class Outage:
    """A fault of the relay, and the resulting reason of a token call."""

    reason: str
    settings: tuple[tuple[str, Any], ...] = ()

    def begin(self, relay: TcpRelay) -> None:
        """Apply the fault."""
        for name, value in self.settings:
            setattr(relay.back, name, value)
        if not self.settings:
            relay.refuse()


OUTAGES = {
    "nobody there": Outage("unreachable"),
    "black hole": Outage("timeout", (("drops_bytes", True),)),
    "end instead of an answer": Outage("unreachable", (("cut_after", 0),)),
    "reset instead of an answer": Outage("unreachable", (("reset_after", 0),)),
    "end within the head": Outage("unreachable", (("cut_after", 20),)),
    "end within the body": Outage("malformed", (("cut_after", 250),)),
    "too slow": Outage("timeout", (("slice", 1), ("bandwidth", 100.0))),
}


@pytest.mark.parametrize("name", OUTAGES)
async def test_token_call_over_a_faulty_network(relayed_proxy: RelayedProxy, name: str) -> None:
    """It has its own reason; the current token is served; later calls succeed."""
    outage = OUTAGES[name]
    outage.begin(relayed_proxy.relay)
    (entry,) = relayed_proxy.fixture.app.tokens.entries()
    before = entry.token
    relayed_proxy.fixture.app.tokens.start_refresh(entry)
    await until(lambda: relayed_proxy.fixture.log.lines("token refresh failed"))
    assert relayed_proxy.fixture.log.lines("token refresh failed")[0]["reason"] == outage.reason
    failures = "candescent_proxy_token_refresh_failures_total"
    assert sample(relayed_proxy.fixture.app, failures) == sample(
        relayed_proxy.fixture.app, failures, reason=outage.reason
    )
    assert entry.token is before
    relayed_proxy.relay.restore()
    if not outage.settings:
        await relayed_proxy.relay.accept()
    await relayed_proxy.works()
    # The next attempt follows after the back-off by itself.
    entry.refresh_age = 0.0
    relayed_proxy.fixture.app.tokens.on_change()
    await until(lambda: entry.token is not before)
    assert entry.failures == 0


@pytest.mark.parametrize("setting", [("latency", 0.1), ("slice", 1)])
async def test_slow_token_call_within_its_deadline(
    relayed_proxy: RelayedProxy, setting: tuple[str, Any]
) -> None:
    """It is not a failure."""
    setattr(relayed_proxy.relay.back, *setting)
    (entry,) = relayed_proxy.fixture.app.tokens.entries()
    before = entry.token
    relayed_proxy.fixture.app.tokens.start_refresh(entry)
    await until(lambda: entry.fetch is None)
    assert entry.token is not before
    assert relayed_proxy.fixture.log.lines("token refresh failed") == []
