"""The life of one upstream connection as a state machine: exchanges never mix.

Hypothesis plays both sides. Callers leave at any byte, read or do not, upload or stop; the upstream
responds early, in pieces, with every framing, sends unexpected bytes, closes and resets. The
connection, the pool and the sockets (with and without TLS) are real; time is simulated.

Every byte that an exchange receives carries the number of its exchange. Checked:

- an exchange receives the response to its own request, a part of it, or an error;
- the upstream receives the requests one after another, each as sent;
- a response that the upstream sends completely is received completely, even if it then closes on
  an unread request, and no deadline is early;
- after a complete exchange the connection is reused, unless a byte came behind the response.
"""

import asyncio
import importlib
import importlib.util
import socket
import ssl
import tempfile
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from proxy.errors import ProxyError, UpstreamError, kinds
from proxy.upstream.connection import HIGH_WATER, Connection, ConnectionState
from proxy.upstream.dialer import Dialer, UpstreamOrigin
from proxy.upstream.pool import Pool
from proxy.upstream.upstream_settings import UpstreamSettings
from tests.support.certificates import OpensslAuthority, server_context

SETTINGS = UpstreamSettings(max_connections=1, max_idle_age=300, max_age=1e9)
SIZES = [0, 100, HIGH_WATER - 60, HIGH_WATER + 1, HIGH_WATER + 100_000, 700_000]
"""Bytes of a body; some fill the buffer with their last byte."""
NOBODY = 999_999
"""The number of an exchange that does not exist."""


def numbered(number: int, size: int) -> bytes:
    """Return ``size`` bytes that carry a number."""
    return (b"%06d." % number * (size // 7 + 1))[:size]


def _sized(body: bytes) -> bytes:
    return b"Content-Length: %d\r\n\r\n%b" % (len(body), body)


def _chunked(body: bytes) -> bytes:
    blocks = [body[at : at + 100_000] for at in range(0, len(body), 100_000)]
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(block), block) for block in blocks)
    return b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\nX-Trailer: t\r\n\r\n"


FRAMINGS = {"sized": _sized, "chunked": _chunked}


def response(number: int, framing: str, body: bytes) -> bytes:
    """Return a whole response, with an interim one before it."""
    status = b"204 No Content" if framing == "no body" else b"200 OK"
    lines = b"HTTP/1.1 %b\r\nX-Number: %06d\r\n" % (status, number)
    rest = b"\r\n" if framing == "no body" else FRAMINGS[framing](body)
    return b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + lines + rest


@cache
def _certificates() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Return TLS contexts for the upstream and the proxy."""
    with tempfile.TemporaryDirectory() as folder:
        authority = OpensslAuthority.make(Path(folder))
        server = server_context(authority.issue("bank", "DNS:bank.test"))
        return server, ssl.create_default_context(cafile=str(authority.file))


UNASKED = [
    b"\r\n",
    b"x",
    b"HTTP/1.1 2",
    response(NOBODY, "sized", numbered(NOBODY, 50)),
    response(NOBODY, "chunked", numbered(NOBODY, 700_000)),
]


class UpstreamEnd:
    """The upstream's side of a connection: a socket without a loop, with or without TLS."""

    def __init__(self, sock: socket.socket, *, tls: bool) -> None:
        self._sock = sock
        self._sock.setblocking(False)
        self._out = b""
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls: ssl.SSLObject | None = None
        if tls:
            self._tls = _certificates()[0].wrap_bio(
                self._incoming, self._outgoing, server_side=True
            )
        self.received = b""
        self.expected = b""
        """What has been sent to it: all requests so far, one behind the other."""
        self.unasked = False
        """Whether it has sent a byte that belongs to no exchange."""
        self.only_empty_lines = True
        """Whether those were empty lines, which llhttp skips behind a response."""
        self.closed = False
        self.all_left = False
        """Whether all that it sent had left it when it closed."""

    @property
    def is_flushed(self) -> bool:
        """Whether everything has been sent."""
        return not self._out

    def handshake(self) -> bool:
        """Continue the handshake; return whether it is complete."""
        if self._tls is None:
            return True
        self._incoming.write(self._read_socket())
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        finally:
            self.flush()
        return True

    def send(self, data: bytes) -> None:
        """Send as much as possible; ``flush`` sends the rest."""
        if self._tls is None:
            self._out += data
        elif data:
            self._tls.write(data)
        self.flush()

    def flush(self) -> None:
        """Send the rest."""
        self._out += self._outgoing.read()
        with suppress(BlockingIOError, BrokenPipeError, ConnectionResetError):
            while self._out and not self.closed:
                self._out = self._out[self._sock.send(self._out) :]

    def receive(self) -> None:
        """Read all available bytes."""
        data = b"" if self.closed else self._read_socket()
        if self._tls is None:
            self.received += data
            return
        self._incoming.write(data)
        with suppress(ssl.SSLError):
            while block := self._tls.read(65_536):
                self.received += block

    def _read_socket(self) -> bytes:
        data = b""
        with suppress(BlockingIOError, ConnectionResetError):
            while block := self._sock.recv(1 << 20):
                data += block
        return data

    def close(self) -> None:
        """Close; with a reset if bytes are unread."""
        self.closed = True
        self.all_left = self.is_flushed
        self._sock.close()


@dataclass
class PlannedExchange:
    """A request, its planned response, and what both sides have received."""

    number: int
    connection: Connection
    end: UpstreamEnd
    body: bytes
    """Of the response."""
    unsent: bytes
    """Of the response."""
    unwritten: bytes
    """Of the request's body."""
    received: bytes = b""
    waited: float = 0.0
    """Seconds since the last byte from either side."""
    longest_wait: float = 0.0
    lasted: float = 0.0
    has_head: bool = False
    at_end: bool = False
    failed: bool = False
    reading: "asyncio.Task[bytes | None] | None" = None
    writing: "asyncio.Task[None] | None" = None

    @property
    def is_uploaded(self) -> bool:
        """Whether the whole request has been given to the connection."""
        return not self.unwritten and (self.writing is None or self.writing.done())


class _SocketPairs:
    """A mixin of an event loop that connects socket pairs instead of addresses.

    ``ends`` has the upstream's side of each connection.
    """

    ends: dict[Connection, UpstreamEnd]

    async def create_connection(
        self, factory: Any, host: str, port: int, *, ssl: Any = None, server_hostname: Any = None
    ) -> Any:
        """Return transport and connection on one end of a pair."""
        del host, port
        ours, theirs = socket.socketpair()
        end = UpstreamEnd(theirs, tls=ssl is not None)
        opening = asyncio.ensure_future(
            super().create_connection(  # type: ignore[misc]  # the event loop's own
                factory, sock=ours, ssl=ssl, server_hostname=server_hostname
            )
        )
        while not (end.handshake() and opening.done()):  # noqa: ASYNC110 - no loop runs that end
            await asyncio.sleep(0)
        transport, connection = await opening
        self.ends[connection] = end
        return transport, connection


class _SocketPairDialer(Dialer):
    """Leaves the whole connection to such a loop."""

    async def connect(self, create_protocol: Callable[[], Any]) -> Any:
        """Return the connection."""
        origin, loop = self.origin, asyncio.get_running_loop()
        _, connection = await loop.create_connection(
            create_protocol,
            origin.host,
            origin.port,
            ssl=origin.tls,
            server_hostname=origin.host if origin.tls else None,
        )
        return connection


class SimulatedTimeLoop(asyncio.SelectorEventLoop):
    """A loop with a clock that can be advanced."""

    moved = 0.0

    def time(self) -> float:
        """Return the loop's time."""
        return super().time() + self.moved


class ConnectionLife(RuleBasedStateMachine):
    """The rules. One exchange at a time, on the pool's one connection."""

    loop_name = "asyncio"
    tls = False

    def __init__(self) -> None:
        super().__init__()
        base = SimulatedTimeLoop
        if self.loop_name != "asyncio":
            base = importlib.import_module("uvloop").Loop
        self.loop: Any = type("Loop", (_SocketPairs, base), {"ends": {}})()
        self.count = 0
        self.exchange: PlannedExchange | None = None
        self.pool: Pool = self.run(self._make_pool())

    async def _make_pool(self) -> Pool:
        context = _certificates()[1] if self.tls else None
        origin = UpstreamOrigin("bank.test", 443, context)
        return Pool(_SocketPairDialer(origin, SETTINGS), SETTINGS)

    @property
    def current(self) -> PlannedExchange:
        """The current exchange."""
        assert self.exchange is not None
        return self.exchange

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Run the loop until ``work`` is done."""
        return self.loop.run_until_complete(asyncio.wait_for(work, 1e5))

    def turn(self, times: int = 6) -> None:
        """Let the loop run a few times; then every byte of a socket pair has arrived."""

        async def turns() -> None:
            for _ in range(times):
                for end in self.loop.ends.values():
                    end.flush()
                await asyncio.sleep(0)

        self.run(turns())

    def teardown(self) -> None:
        """Run a last exchange, which must succeed; then the loop must be empty."""
        if self.exchange is not None:
            self.caller_leaves()
        self.request("sized", 10, head_only=False, upload=0, at_once=True, early=0)
        self.finish()
        self.pool.close()
        self.turn()
        for end in self.loop.ends.values():
            end.close()
        assert self.pool.open_count == 0
        assert not asyncio.all_tasks(self.loop)
        self.loop.close()

    # The caller.

    @precondition(lambda self: self.exchange is None)
    @rule(
        framing=st.sampled_from(["sized", "sized", "chunked", "chunked", "no body"]),
        size=st.sampled_from(SIZES),
        head_only=st.sampled_from([False, False, False, True]),
        upload=st.sampled_from([0, 0, 0, 10, 1_000_000]),
        at_once=st.booleans(),
        early=st.sampled_from([0, 100, 1 << 30, 1 << 30]),
    )
    def request(
        self, framing: str, size: int, *, head_only: bool, upload: int, at_once: bool, early: int
    ) -> None:
        """Begin an exchange on a connection of the pool.

        ``at_once``: the body is sent with the head. ``early``: response bytes that the upstream
        sends before it reads.
        """
        self.count += 1
        connection = self.pool.checkout() or self.run(self.pool.connect())
        end = self.loop.ends[connection]
        assert not end.closed
        if end.unasked and end.is_flushed:
            assert end.only_empty_lines, "a connection with foreign bytes is used"
            end.unasked = False
        method = b"HEAD" if head_only else b"POST"
        head = b"%b /%06d HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % (method, self.count, upload)
        body = numbered(self.count, upload)
        whole = response(self.count, framing, numbered(self.count, size))
        if head_only:
            whole = whole[: whole.index(b"\r\n\r\n", whole.index(b"X-Number")) + 4]
        exchange = PlannedExchange(
            number=self.count,
            connection=connection,
            end=end,
            body=b"" if head_only or framing == "no body" else numbered(self.count, size),
            unsent=whole,
            unwritten=b"" if at_once else body,
        )
        end.expected += head + body
        connection.start(
            head + (body if at_once else b""),
            bodiless=head_only,
            total_at=self.loop.time() + SETTINGS.total_timeout,
        )
        self.exchange = exchange
        if early:
            self.upstream_sends(early)

    @precondition(lambda self: self.exchange is not None and self.exchange.unwritten)
    @rule(size=st.sampled_from([1, 10, 400_000]))
    def upload(self, size: int) -> None:
        """Send more of the request's body."""
        exchange = self.current
        if exchange.writing is None or exchange.writing.done():
            block, exchange.unwritten = exchange.unwritten[:size], exchange.unwritten[size:]
            exchange.writing = self.loop.create_task(self._write(exchange, block))
            exchange.waited = 0.0
            self.turn()

    async def _write(self, exchange: PlannedExchange, block: bytes) -> None:
        try:
            await exchange.connection.write(block)
        except ProxyError:
            exchange.failed = True

    @precondition(lambda self: self.exchange is not None and not self.exchange.at_end)
    @rule()
    def read(self) -> None:
        """Wait for the head of the response, or for its next block."""
        exchange = self.current
        if exchange.reading is None:
            exchange.reading = self.loop.create_task(self._read(exchange))
        self.turn()
        self._collect(exchange)

    async def _read(self, exchange: PlannedExchange) -> bytes | None:
        if exchange.has_head:
            return await exchange.connection.read()
        await exchange.connection.wait_for_head()
        return None

    def _collect(self, exchange: PlannedExchange) -> None:
        """Check what a read has returned."""
        if exchange.reading is None or not exchange.reading.done():
            return
        reading, exchange.reading = exchange.reading, None
        try:
            block = reading.result()
        except UpstreamError as error:
            exchange.failed = exchange.at_end = True
            self._check_failure(exchange, error)
            return
        if block is None:
            exchange.has_head = True
            head = exchange.connection.head
            assert head is not None
            assert head.headers[0] == (b"X-Number", b"%06d" % exchange.number)
            return
        exchange.received += block
        assert exchange.body.startswith(exchange.received)
        if not block:
            exchange.at_end = True
            assert exchange.received == exchange.body

    def _check_failure(self, exchange: PlannedExchange, error: UpstreamError) -> None:
        if error.reason is kinds.UPSTREAM_FIRST_BYTE_TIMEOUT:
            assert exchange.lasted >= SETTINGS.first_byte_timeout
        elif error.reason is kinds.UPSTREAM_IDLE_TIMEOUT:
            assert exchange.longest_wait >= SETTINGS.idle_timeout
        elif error.reason is kinds.UPSTREAM_TOTAL_TIMEOUT:
            assert exchange.lasted >= SETTINGS.total_timeout
        else:
            assert exchange.end.closed or exchange.end.unasked
            # With TLS, a reset takes with it what has not been decrypted.
            is_whole = exchange.end.all_left and not exchange.unsent and not exchange.end.unasked
            assert self.tls or not is_whole, "a response that was sent to its end is lost"

    @precondition(lambda self: self.exchange is not None)
    @rule()
    def caller_leaves(self) -> None:
        """Abort the exchange, as the forwarder does."""
        exchange, self.exchange = self.current, None
        whole = exchange.connection.state is ConnectionState.COMPLETE and exchange.is_uploaded
        for task in (exchange.reading, exchange.writing):
            if task is not None:
                task.cancel()
        if not whole:
            exchange.connection.abort()
        self.pool.release(exchange.connection)

    @precondition(lambda self: self.exchange is not None)
    @rule()
    def finish(self) -> None:
        """Let both sides finish: the whole response arrives."""
        exchange = self.current
        for _ in range(400):
            self.upstream_sends(1 << 30, reads=True)
            if exchange.unwritten and not exchange.failed:
                self.upload(1 << 30)
            if not exchange.at_end:
                self.read()
            is_received = exchange.is_uploaded and exchange.end.received == exchange.end.expected
            if exchange.at_end and (is_received or exchange.failed or exchange.end.closed):
                break
        assert exchange.at_end, "the response was sent to its end and not received"
        is_whole = not exchange.failed and not exchange.end.unasked and not exchange.end.closed
        self.caller_leaves()
        if is_whole:
            assert exchange.end.received == exchange.end.expected
            assert self.pool.idle_count == 1, "a good connection is given up"

    # The upstream.

    @precondition(lambda self: self._is_answering())
    @rule(
        size=st.sampled_from([1, 50, 100, 5000, HIGH_WATER, 1 << 30]),
        reads=st.booleans(),
        after=st.sampled_from([0.0, 0.0, 20.0, 45.0]),
    )
    def upstream_sends(self, size: int, *, reads: bool = False, after: float = 0.0) -> None:
        """Send more of the response after ``after`` seconds, reading the request or not."""
        exchange = self.current
        self.time_passes(after)
        if reads:
            exchange.end.receive()
        if exchange.unsent and not exchange.end.unasked and not exchange.end.closed:
            exchange.end.send(exchange.unsent[:size])
            exchange.unsent = exchange.unsent[size:]
            exchange.waited = 0.0
        self.turn()

    @precondition(lambda self: self._idle_end() is not None)
    @rule(data=st.sampled_from([b"", *UNASKED]), recorded=st.booleans())
    def upstream_sends_unasked_or_closes(self, data: bytes, *, recorded: bool) -> None:
        """Send bytes behind a complete response or on an idle connection; without bytes, close."""
        end = self._idle_end()
        assert end is not None
        if data:
            end.send(data)
            end.unasked = True
            end.only_empty_lines &= data == b"\r\n"
        else:
            end.close()
        if recorded:
            self.turn()

    @precondition(lambda self: self._is_answering())
    @rule()
    def upstream_closes_early(self) -> None:
        """Close within a response."""
        self.current.end.close()

    def _is_answering(self) -> bool:
        exchange = self.exchange
        return exchange is not None and bool(exchange.unsent) and not exchange.end.closed

    def _idle_end(self) -> UpstreamEnd | None:
        """Return the upstream's side if no response is due on it."""
        exchange = self.exchange
        if exchange is not None:
            return None if exchange.unsent or exchange.end.closed else exchange.end
        idle = [self.loop.ends[connection] for connection in self.pool._idle]
        return idle[0] if idle and not idle[0].closed else None

    def time_passes(self, seconds: float) -> None:
        """Advance the clock, where the loop supports it."""
        if isinstance(self.loop, SimulatedTimeLoop):
            self.loop.moved += seconds
            exchange = self.current
            exchange.waited += seconds
            exchange.lasted += seconds
            exchange.longest_wait = max(exchange.longest_wait, exchange.waited)
            self.turn()

    @invariant()
    def requests_arrive_in_order(self) -> None:
        """The upstream has received the requests, each as sent."""
        for end in self.loop.ends.values():
            assert end.expected.startswith(end.received)


# Without "explain", which traces every line.
_PHASES = (Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink)

MACHINES = {
    f"{loop}, {'TLS' if tls else 'plain'}": type(
        "Life", (ConnectionLife,), {"loop_name": loop, "tls": tls}
    )
    for loop in ("asyncio", "uvloop")
    for tls in (False, True)
    if importlib.util.find_spec(loop)
}


@pytest.mark.parametrize("machine", MACHINES.values(), ids=MACHINES)
def test_exchanges_never_mix(machine: type[ConnectionLife]) -> None:
    """Any sequence of steps of both sides."""
    case = machine.TestCase
    case.settings = settings(max_examples=30, stateful_step_count=40, phases=_PHASES)
    case().runTest()
