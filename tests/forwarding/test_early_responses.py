"""Uploads that the bank answers before it has read them, and closes the connection.

The bank is a blocking server on threads: its response and the reset race with what the proxy
sends, as they do in a network.
"""

import asyncio
import json
import socket
import ssl
import struct
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest

from proxy.runtime.app import App
from tests.support.certificates import OpensslAuthority, server_context
from tests.support.running import running
from tests.support.upstream_server import ok, response_head

EVERY_LOOP = True

TOO_LARGE = response_head(b"413 Content Too Large", b"Content-Length: 9", b"Connection: close")
REFUSED = response_head(b"401 Unauthorized", b"Content-Length: 9", b"Connection: close")
BODY = b"too large"
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class EarlyBank:
    """Answers each request at its head and ends the connection; ``tokens`` were issued.

    ``requests`` has the heads.
    """

    def __init__(
        self, head: bytes, ending: Callable[[socket.socket], None], tls: ssl.SSLContext | None
    ) -> None:
        self._head = head
        self._end = ending
        self._tls = tls
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.tokens = 0
        self.requests: list[bytes] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Listen no more."""
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with suppress(OSError):
            connection = self._tls.wrap_socket(connection, True) if self._tls else connection
        with connection, suppress(OSError):
            data = b""
            while b"\r\n\r\n" not in data:
                block = connection.recv(65_536)
                if not block:
                    return
                data += block
            if b"oauth2/v1/token" in data:
                self.tokens += 1
                token = json.dumps({"access_token": f"t{self.tokens}", "expires_in": 3600}).encode()
                connection.sendall(ok(token))
                return
            self.requests.append(data.partition(b"\r\n\r\n")[0])
            connection.sendall(self._head + BODY)
            self._end(connection)


def leave_unread(_connection: socket.socket) -> None:
    """Close with bytes unread, which resets the connection (RFC 9112 section 9.6)."""


def reset(connection: socket.socket) -> None:
    """Reset without delay."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)


ENDINGS = {"closed on unread bytes": leave_unread, "reset": reset}


@contextmanager
def early_bank(
    head: bytes, ending: Callable[[socket.socket], None], tls: ssl.SSLContext | None = None
) -> Iterator[EarlyBank]:
    """Run such a bank."""
    bank = EarlyBank(head, ending, tls)
    try:
        yield bank
    finally:
        bank.close()


def upload(port: int, size: int, framing: str = "sized") -> str:
    """Upload ``size`` bytes, whatever happens meanwhile; return the status of the response."""
    sized = framing == "sized"
    field = f"Content-Length: {size}" if sized else "Transfer-Encoding: chunked"
    block = b"x" * 65_536
    data = block if sized else b"10000\r\n" + block + b"\r\n"
    received = b""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as caller:
        with suppress(OSError):
            caller.sendall(f"POST /v1/x HTTP/1.1\r\nHost: localhost\r\n{field}\r\n\r\n".encode())
            for _ in range(size // len(block)):
                caller.sendall(data)
        with suppress(OSError):
            while b"\r\n\r\n" not in received and (got := caller.recv(65_536)):
                received += got
    return received[9:12].decode()


async def uploads(app: App, bank: EarlyBank, count: int) -> tuple[Counter[str], Counter[str]]:
    """Upload 1 to 8 MB through the proxy and directly, by turns; return the statuses of each."""
    proxied, direct = Counter[str](), Counter[str]()
    for at in range(count):
        size = (1 + at % 8) << 20
        framing = "chunked" if at % 3 == 0 else "sized"
        proxied[await asyncio.to_thread(upload, app.data_address.port, size, framing)] += 1
        direct[await asyncio.to_thread(upload, bank.port, size, framing)] += 1
    return proxied, direct


@pytest.mark.parametrize("ending", ENDINGS.values(), ids=ENDINGS)
async def test_early_response_is_not_lost(ending: Callable[[socket.socket], None]) -> None:
    """All of a hundred uploads get the bank's 413, as a caller without the proxy does."""
    with early_bank(TOO_LARGE, ending) as bank:
        async with running(f"http://127.0.0.1:{bank.port}") as app:
            proxied, direct = await uploads(app, bank, 100)
        assert direct == {"413": 100}
        assert proxied == {"413": 100}
        assert len(bank.requests) == 200


async def test_early_response_over_tls(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Each upload gets the 413 or, where the reset has destroyed it, a 502; none is sent twice."""
    authority = OpensslAuthority.make(tmp_path_factory.mktemp("authority"))
    tls = server_context(authority.issue("bank", "IP:127.0.0.1"))
    settings: dict[str, Any] = {"upstream": {"ca_file": str(authority.file)}}
    with early_bank(TOO_LARGE, leave_unread, tls) as bank:
        async with running(f"https://127.0.0.1:{bank.port}", **settings) as app:
            statuses = Counter[str]()
            for at in range(24):
                size = (1 + at % 8) << 20
                statuses[await asyncio.to_thread(upload, app.data_address.port, size)] += 1
        assert statuses.keys() <= {"413", "502"}
        assert statuses["413"]
        assert len(bank.requests) == 24


async def test_refused_token_is_rejected() -> None:
    """A 401 before the end of an upload drops the token; the next request has another."""
    with early_bank(REFUSED, leave_unread) as bank:
        settings: dict[str, Any] = {"token": {"min_interval": "0.001"}}
        async with running(f"http://127.0.0.1:{bank.port}", **settings) as app:
            for _ in range(20):
                status = await asyncio.to_thread(upload, app.data_address.port, 4 << 20)
                assert status == "401"
        sent = [head.partition(b"Bearer ")[2].partition(b"\r\n")[0] for head in bank.requests]
        assert len(sent) == 20
        # A bank that refuses every token soon gets the same one for a while.
        assert len(set(sent[:3])) == 3
