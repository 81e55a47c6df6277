"""A listening TCP port, with or without TLS, or a Unix socket.

Connections are accepted here and not by asyncio's servers, which accept all that the system has
queued: so their number is bounded before TLS, and a certificate is replaced without a new server.
"""

import asyncio
import errno
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

from proxy.server.address import Address
from proxy.server.caller import Caller, caller_of
from proxy.server.limits import CallerLimits
from proxy.server.refusals import Refusals
from proxy.server.sockets import bound_address, cannot_listen, inode, tcp_sockets, unix_socket
from proxy.tasks import Tasks

MAX_OPENING = 32
"""Connections accepted together; without TLS they open in the next iteration of the loop."""

HANDSHAKE_GRACE = 0.25
"""Seconds after which a TLS handshake is closed when others wait."""

PLAIN_HTTP_LINGER = 1.0
"""Seconds for a caller without TLS to read why it is refused."""

_REASONS = {
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": "no_certificate",
    "UNSUPPORTED_PROTOCOL": "tls_version",
    "VERSION_TOO_LOW": "tls_version",
    "NO_SHARED_CIPHER": "tls_version",
    "NO_PROTOCOLS_AVAILABLE": "tls_version",
}

OUT_OF_FILES_PAUSE = 0.2
"""Seconds until the next try to accept when the system gives no more files."""


class Port:
    """Listens on ``address``; ``protocol`` creates the protocol of each connection.

    ``handshake_timeout`` is in seconds, ``max_handshakes`` the limit of concurrent TLS handshakes.
    ``setting`` is the name of the address's setting; ``refusals`` counts failed handshakes.
    ``plain_http_response`` makes what a caller without TLS gets on a port with it.
    """

    def __init__(
        self,
        protocol: Callable[[], asyncio.Protocol],
        address: Address,
        handshake_timeout: float = 10.0,
        setting: str = "listen",
        *,
        max_handshakes: int = CallerLimits.max_handshakes,
        refusals: Refusals | None = None,
        plain_http_response: Callable[[Caller], bytes] = lambda _caller: b"",
    ) -> None:
        self._protocol = protocol
        self._address = address
        self._handshake_timeout = handshake_timeout
        self._max_handshakes = max_handshakes
        self._setting = setting
        self._refusals = refusals or Refusals()
        self._plain_http_response = plain_http_response
        self._tls: ssl.SSLContext | None = None
        self._sockets: list[socket.socket] = []
        self._inode = 0
        # When each began, in loop seconds, the oldest first.
        self._opening: dict[asyncio.Task[None], float] = {}
        self._has_room = asyncio.Event()
        self._accepting = Tasks("port")
        self._connecting = Tasks("port")

    async def open(self, tls: ssl.SSLContext | None, socket_mode: int) -> Address:
        """Start to listen; return the address. Raises ``ConfigError`` for a port in use."""
        address, self._tls = self._address, tls
        try:
            if address.path:
                self._sockets = [unix_socket(address.path, socket_mode)]
                self._inode = inode(address.path)
            else:
                self._sockets = await tcp_sockets(address)
        except (OSError, NotImplementedError) as error:
            raise cannot_listen(self._setting, address, error) from error
        for sock in self._sockets:
            task = self._accepting.spawn("accept", self._accept(sock))
            # Not by the task itself, which may be cancelled before it begins.
            task.add_done_callback(partial(_close, sock))
        return bound_address(self._sockets[0])

    def replace_tls(self, tls: ssl.SSLContext) -> None:
        """Use another certificate for new connections."""
        self._tls = tls

    def close(self) -> None:
        """Stop listening; open connections stay."""
        for sock in self._sockets:
            with suppress(OSError):  # on systems where only closing ends it
                sock.shutdown(socket.SHUT_RDWR)
        self._accepting.stop()
        if self._inode and inode(self._address.path) == self._inode:
            Path(self._address.path).unlink()

    async def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._wait_for_room(loop)
            try:
                sock, _ = await loop.sock_accept(listener)
                self._connect(loop, sock)
                await self._accept_more(loop, listener)
            except OSError as error:
                if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                    self._refusals.note("files")
                    await asyncio.sleep(OUT_OF_FILES_PAUSE)

    async def _accept_more(self, loop: asyncio.AbstractEventLoop, listener: socket.socket) -> None:
        """Accept what is queued already, without an iteration of the event loop for each."""
        with suppress(BlockingIOError):
            for _ in range(MAX_OPENING - 1):
                if len(self._opening) >= self._most_opening:
                    break
                self._connect(loop, listener.accept()[0])
        await asyncio.sleep(0)

    def _connect(self, loop: asyncio.AbstractEventLoop, sock: socket.socket) -> None:
        task = self._connecting.spawn("connection", self._establish(loop, sock))
        self._opening[task] = loop.time()
        task.add_done_callback(self._opened)

    async def _establish(self, loop: asyncio.AbstractEventLoop, sock: socket.socket) -> None:
        tls = self._tls
        timeout = None if tls is None else self._handshake_timeout
        try:
            sock.setblocking(False)
            if tls is not None and await self._speaks_plain_http(loop, sock):
                await self._refuse_plain_http(loop, sock)
                return
            await loop.connect_accepted_socket(
                self._protocol, sock, ssl=tls, ssl_handshake_timeout=timeout
            )
        except OSError as error:  # TLS errors and timeouts too
            sock.close()
            if isinstance(error, (ssl.SSLError, ConnectionAbortedError, TimeoutError)):
                self._refusals.note(*_handshake_error(error))
        except asyncio.CancelledError:
            sock.close()
            raise

    async def _speaks_plain_http(
        self, loop: asyncio.AbstractEventLoop, sock: socket.socket
    ) -> bool:
        """Whether a caller begins with a method, which no TLS record does (RFC 8446 section 5.1).

        Raises ``TimeoutError`` for one that says nothing. False on Windows, where the event loop
        cannot wait without reading.
        """
        readable = loop.create_future()
        try:
            loop.add_reader(sock, _wake, readable)
        except NotImplementedError:
            return False
        try:
            async with asyncio.timeout(self._handshake_timeout):
                await readable
        finally:
            loop.remove_reader(sock)
        return sock.recv(1, socket.MSG_PEEK).isupper()

    async def _refuse_plain_http(
        self, loop: asyncio.AbstractEventLoop, sock: socket.socket
    ) -> None:
        """Say in plain HTTP what is wrong, read what the caller has still to send, and close."""
        self._refusals.note("plain_http")
        with suppress(TimeoutError):
            async with asyncio.timeout(PLAIN_HTTP_LINGER):
                caller = caller_of(sock.getpeername(), None)
                await loop.sock_sendall(sock, self._plain_http_response(caller))
                sock.shutdown(socket.SHUT_WR)
                while await loop.sock_recv(sock, 4096):
                    pass
        sock.close()

    def _opened(self, task: "asyncio.Task[None]") -> None:
        self._opening.pop(task, None)
        self._has_room.set()

    @property
    def _most_opening(self) -> int:
        return MAX_OPENING if self._tls is None else self._max_handshakes

    async def _wait_for_room(self, loop: asyncio.AbstractEventLoop) -> None:
        """Wait until one more connection may be accepted; close slow handshakes."""
        while len(self._opening) >= self._most_opening:
            self._has_room.clear()
            oldest = next(iter(self._opening.values()))
            with suppress(TimeoutError):
                async with asyncio.timeout_at(oldest + HANDSHAKE_GRACE):
                    await self._has_room.wait()
                    continue
            for task, since in list(self._opening.items()):
                if since + HANDSHAKE_GRACE <= loop.time():
                    self._refusals.note("handshake", "closed for others")
                    task.cancel()
                    self._opened(task)


def _close(sock: socket.socket, _task: "asyncio.Task[None]") -> None:
    sock.close()


def _wake(readable: "asyncio.Future[None]") -> None:
    if not readable.done():
        readable.set_result(None)


def _handshake_error(error: OSError) -> tuple[str, str]:
    """Return the reason for which a failed handshake is counted, and OpenSSL's words for it."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return "certificate", error.verify_message
    if not isinstance(error, ssl.SSLError):
        return "handshake", "timeout"
    text = (error.reason or "protocol error").lower().replace("_", " ")
    return _REASONS.get(error.reason or "", "handshake"), text
