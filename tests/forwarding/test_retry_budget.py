"""Retries: a request is sent again only if nothing of it was sent before."""

import socket
import struct
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.forwarding.record import RequestRecord
from proxy.forwarding.retry_budget import BURST, PER_SECOND, SHARE, RetryBudget
from proxy.runtime.app import App
from tests.support.proxy_fixture import sample
from tests.support.raw_client import RawResponse, ask, connect, request
from tests.support.running import running
from tests.support.upstream_server import ok

EVERY_LOOP = True

RESET = struct.pack("ii", 1, 0)
METHODS = ("GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE")
SAFE = ("GET", "HEAD", "OPTIONS")
RETRIES = "candescent_proxy_retries_total"


@dataclass(frozen=True)
class ConnectionFault:
    """What a connection does instead of a response: it ends after ``after`` bytes of a request.

    ``served`` requests are served before. ``wait`` is how long it lets the bytes come, in seconds.
    """

    after: int
    resets: bool
    served: int = 0
    wait: float = 0.0


@dataclass
class RecordingBank:
    """Ends connections by ``faults``, one after another, and then serves every request.

    ``received`` has all bytes of each connection since its last served request.
    """

    faults: list[ConnectionFault]
    listener: socket.socket = field(default_factory=lambda: socket.create_server(("127.0.0.1", 0)))
    received: list[bytes] = field(default_factory=list)
    served: list[bytes] = field(default_factory=list)

    def serve(self) -> None:
        """Accept connections until the listener closes."""
        with suppress(OSError):
            while True:
                connection, _ = self.listener.accept()
                fault = self.faults.pop(0) if self.faults else None
                serving = threading.Thread(target=self._serve, args=(connection, fault))
                serving.daemon = True
                serving.start()

    def _serve(self, connection: socket.socket, fault: ConnectionFault | None) -> None:
        at = len(self.received)
        self.received.append(b"")
        with connection, suppress(OSError):
            served = 0
            while fault is None or served < fault.served:
                if not self._read(connection, at, 1 << 30):
                    return
                self.served.append(self.received[at])
                self.received[at] = b""
                connection.sendall(ok(b"yes"))
                served += 1
            self._read(connection, at, fault.after)
            if fault.wait:
                time.sleep(fault.wait)
            if fault.resets:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            # Also what came and would be discarded counts as received.
            connection.setblocking(False)
            self.received[at] += connection.recv(1 << 20)

    def _read(self, connection: socket.socket, at: int, size: int) -> bool:
        """Read ``size`` bytes, or a whole request; return whether they came."""
        while len(self.received[at]) < size and not self._is_whole(self.received[at]):
            block = connection.recv(min(size - len(self.received[at]), 65_536))
            self.received[at] += block
            if not block:
                return False
        return True

    @staticmethod
    def _is_whole(data: bytes) -> bool:
        head, end, body = data.partition(b"\r\n\r\n")
        if b"chunked" in head:
            return body.endswith(b"0\r\n\r\n")
        length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
        return bool(end) and len(body) >= int(length or 0)


@contextmanager
def recording_bank(*faults: ConnectionFault) -> Iterator[RecordingBank]:
    """Run such a bank."""
    bank = RecordingBank(list(faults))
    threading.Thread(target=bank.serve, daemon=True).start()
    try:
        yield bank
    finally:
        bank.listener.close()


@asynccontextmanager
async def proxy_before(bank: RecordingBank, **overrides: Any) -> AsyncIterator[App]:
    """Run a proxy before it."""
    url = f"http://127.0.0.1:{bank.listener.getsockname()[1]}"
    async with running(url, bearer_token="scripted", **overrides) as app:
        yield app


def asking(method: str) -> bytes:
    """Return a request; unsafe ones have a body."""
    return request(method, "/v1/x", body=None if method in SAFE else b"x" * 100)


def outcomes(app: App) -> dict[str, float]:
    """Return the metric."""
    names = ("success", "failure", "over_budget")
    return {name: count for name in names if (count := sample(app, RETRIES, outcome=name))}


@pytest.mark.parametrize("served", [0, 1], ids=["new connection", "reused connection"])
@pytest.mark.parametrize("resets", [False, True], ids=["closed", "reset"])
@pytest.mark.parametrize("after", [0, 1, 40, 300, 1 << 20], ids=lambda after: f"{after} bytes")
async def test_no_unsafe_request_is_received_twice(after: int, resets: bool, served: int) -> None:
    """Whatever its method, wherever its connection ends: at most one connection has bytes of it."""
    for method in METHODS:
        with recording_bank(ConnectionFault(after, resets, served)) as bank:
            async with proxy_before(bank) as app, connect(app) as wire:
                for _ in range(served):
                    assert (await wire.ask()).status == 200
                response = await wire.ask(asking(method))
                tries = outcomes(app)
        # A served request has been forgotten; a second one that was served was received.
        received = sum(map(bool, bank.received)) + (response.status == 200)
        assert response.status in (200, 502)
        assert received <= (2 if method in SAFE else 1)
        if tries:
            assert (response.status == 200) == (tries == {"success": 1})
        elif method not in SAFE and (after or not served):
            assert response.status == 502


@pytest.mark.parametrize("method", METHODS)
async def test_connection_refused_is_tried_once_more(method: str) -> None:
    """It fails once for the caller, and is counted."""
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    async with running(f"http://127.0.0.1:{port}", bearer_token="scripted") as app:
        response = await ask(app, asking(method))
        assert response.status == 502
        assert outcomes(app) == {"failure": 1}


@pytest.mark.parametrize("method", METHODS)
async def test_outbound_proxy_that_refuses_is_tried_once_more(method: str) -> None:
    """Likewise: nothing of the request can have been sent."""
    with socket.create_server(("127.0.0.1", 0)) as unused:
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
    async with running(url, bearer_token="scripted", upstream={"proxy": url}) as app:
        response = await ask(app, asking(method))
        assert response.status == 502
        assert outcomes(app) == {"failure": 1}


async def ask_until_tried_again(app: App, bank: RecordingBank, data: bytes) -> RawResponse:
    """Send a request until its first connection has ended before a byte of it was written."""
    before = outcomes(app)
    for _ in range(500):
        bank.faults.append(ConnectionFault(0, resets=True))
        response = await ask(app, data)
        if outcomes(app) != before:
            return response
    raise AssertionError("no connection has ended before a request was written")


@pytest.mark.parametrize("method", METHODS)
async def test_connection_that_ends_before_it_is_used(method: str) -> None:
    """A bank that resets at once what it has accepted costs no request, if others are served."""
    records: list[RequestRecord] = []
    with recording_bank() as bank:
        async with proxy_before(bank, upstream={"max_idle_age": "0.001"}) as app:
            app.forwarder._on_finished = (records.append, *app.forwarder._on_finished)
            response = await ask_until_tried_again(app, bank, asking(method))
            assert (response.status, outcomes(app)) == (200, {"success": 1})
            assert (records[-1].retry, records[-1].replays) == ("success", 0)


async def test_body_goes_with_the_retry() -> None:
    """The body is whole, in either framing."""
    chunked = b"POST /v1/x HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    with recording_bank() as bank:
        async with proxy_before(bank, upstream={"max_idle_age": "0.001"}) as app:
            response = await ask_until_tried_again(app, bank, asking("POST"))
            assert response.status == 200
            bank.served.clear()
            response = await ask_until_tried_again(app, bank, chunked + b"4\r\nabcd\r\n0\r\n\r\n")
            assert response.status == 200
            assert bank.served[-1].endswith(b"\r\n\r\n4\r\nabcd\r\n0\r\n\r\n")


async def test_retries_can_be_switched_off() -> None:
    """Then every connection that ends early is an error, and nothing is counted."""
    with recording_bank(*[ConnectionFault(0, resets=True)] * 20) as bank:
        async with proxy_before(bank, upstream={"retry": "false"}) as app:
            statuses = {(await ask(app, asking("POST"))).status for _ in range(20)}
            assert statuses == {502}
            assert outcomes(app) == {}


async def test_retries_have_a_budget() -> None:
    """In an outage, few requests are retried; the others fail at once."""
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    async with running(f"http://127.0.0.1:{port}", bearer_token="scripted") as app:
        began = time.monotonic()
        for _ in range(100):
            assert (await ask(app)).status == 502
        counts = outcomes(app)
        seconds = time.monotonic() - began
    assert counts["failure"] + counts["over_budget"] == 100
    assert BURST <= counts["failure"] <= BURST + 100 * SHARE + seconds * PER_SECOND + 1


@given(st.lists(st.tuples(st.integers(0, 50), st.floats(0, 10)), max_size=50))
def test_budget_is_a_share_of_the_requests(steps: list[tuple[int, float]]) -> None:
    """Never more than the share, the time and the burst allow; always some when it is full."""
    budget = RetryBudget()
    requests, now, taken = 0, 1000.0, 0
    assert budget.take(0, now)
    taken = 1
    for more, seconds in steps:
        requests, now = requests + more, now + seconds
        taken += budget.take(requests, now)
        assert taken <= BURST + requests * SHARE + (now - 1000.0) * PER_SECOND + 1e-6
    now += BURST / PER_SECOND
    assert all(budget.take(requests, now) for _ in range(int(BURST)))
    assert not budget.take(requests, now)
