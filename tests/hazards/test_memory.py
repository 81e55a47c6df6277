"""Memory of the proxy process while it streams."""

import asyncio
import os
import re
import resource
import socket
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from proxy.sandbox import Fault, Sandbox, pattern, pattern_sha256
from proxy.server.address import Address
from tests.support import needs
from tests.support.raw_client import ask, connect, connected, request
from tests.support.running import CLIENT, DEADLINE

pytestmark = needs.skip_if(sys.platform != "linux", "reads /proc", "make test on Linux")

MB = 1_000_000


@dataclass
class ProxyProcess:
    """A proxy in a process of its own."""

    pid: int
    data_address: Address

    @property
    def peak(self) -> int:
        """Its peak memory, in bytes."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        found = re.search(r"VmHWM:\s+(\d+) kB", status)
        assert found is not None
        return int(found[1]) * 1024


@asynccontextmanager
async def program(base_url: str, **settings: str) -> AsyncIterator[ProxyProcess]:
    """Run ``candescent-proxy run`` in front of ``base_url``, with further settings."""
    environment = {
        **{name: value for name, value in os.environ.items() if "CANDESCENT" not in name},
        **{f"CANDESCENT_{name.upper()}": value for name, value in CLIENT.items()},
        "CANDESCENT_BASE_URL": base_url,
        "CANDESCENT_INSTITUTION_ID": "00016",
        "CANDESCENT_LISTEN": "127.0.0.1:0",
        "CANDESCENT_ADMIN": "127.0.0.1:0",
        "CANDESCENT_LOG_FORMAT": "json",
        "CANDESCENT_GRACE_PERIOD": "1",
        **{f"CANDESCENT_{name.upper()}": text for name, text in settings.items()},
    }
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "proxy.cli", "run"),
        stderr=asyncio.subprocess.PIPE,
        env=environment,
    )
    assert process.stderr is not None
    try:
        async with asyncio.timeout(DEADLINE):
            while True:
                line = (await process.stderr.readline()).decode()
                assert line, "the proxy did not start"
                found = re.search(r'"listen": "([0-9.]+):(\d+)"', line)
                if found:
                    break
        yield ProxyProcess(process.pid, Address(host=found[1], port=int(found[2])))
    finally:
        process.terminate()
        _, rest = await process.communicate()
        assert process.returncode == 0, rest.decode()


async def test_memory_is_flat() -> None:
    """Fifty megabytes each way, with a slow caller and a slow bank."""
    size = 50 * MB
    async with Sandbox() as bank, program(bank.url) as proxy:
        assert (await ask(proxy, request("POST", "/upload", body=b"x" * 1000))).status == 200
        before = proxy.peak
        async with connect(proxy) as wire:
            await wire.send(request("POST", "/upload", f"Content-Length: {size}"), *pattern(size))
            response = await wire.read_response()
            assert response.json() == {"bytes": size, "sha256": pattern_sha256(size)}
        async with connect(proxy) as wire:
            await wire.send(request("GET", f"/download?bytes={size}&chunked=1"))
            await asyncio.sleep(0.5)  # nobody reads, so the buffers are full now
            assert len((await wire.read_response()).body) == size
        assert proxy.peak - before < 30 * MB


async def test_memory_is_flat_where_links_are_rewritten() -> None:
    """Fifty megabytes of JSON."""
    size = 50 * MB
    async with Sandbox() as bank, program(bank.url, rewrite_links="true") as proxy:
        assert (await ask(proxy, request("GET", "/v1/accounts"))).status == 200
        before = proxy.peak
        async with connect(proxy) as wire:
            await wire.send(request("GET", f"/v1/banking-images/7?bytes={size}"))
            await asyncio.sleep(0.5)  # nobody reads, so the buffers are full now
            response = await wire.read_response()
        assert response.header("Transfer-Encoding") == "chunked"
        assert len(response.json()["image"]) == (size + 2) // 3 * 4
        assert proxy.peak - before < 30 * MB


async def test_memory_is_flat_under_two_gigabytes() -> None:
    """Two gibibytes each way; both ends are threads of this process."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        bank = asyncio.create_task(asyncio.to_thread(_vast_bank, listener))
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        async with program(url, bearer_token="scripted") as proxy:
            assert await asyncio.to_thread(_vast_caller, proxy) < 30 * MB
        await bank


VAST = 2 * 2**30
"""Bytes that go each way."""

PIECE = 64 * 2**20
"""Bytes of the file of nothing from which they come."""


def _vast_caller(proxy: ProxyProcess) -> int:
    """Upload, then download; return the growth of the proxy's memory."""
    address = (proxy.data_address.host, proxy.data_address.port)
    with socket.create_connection(address, timeout=30) as sock:
        before = proxy.peak
        sock.sendall(request("POST", "/", f"Content-Length: {VAST}"))
        _pour(sock)
        assert _head(sock).startswith(b"HTTP/1.1 200 ")
        sock.sendall(request("GET", "/"))
        assert b"\r\ncontent-length: %d\r\n" % VAST in _head(sock).lower()
        _drain(sock)
        return proxy.peak - before


def _vast_bank(listener: socket.socket) -> None:
    """Receive an upload and send a download on one connection."""
    sock, _ = listener.accept()
    with sock:
        sock.settimeout(30)
        assert _head(sock).startswith(b"POST ")
        _drain(sock)
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        assert _head(sock).startswith(b"GET ")
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % VAST)
        _pour(sock)


def _head(sock: socket.socket) -> bytes:
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        byte = sock.recv(1)
        assert byte, head
        head += byte
    return head


def _pour(sock: socket.socket) -> None:
    with tempfile.TemporaryFile() as file:
        file.truncate(PIECE)
        for _ in range(VAST // PIECE):
            file.seek(0)
            sock.sendfile(file, count=PIECE)


def _drain(sock: socket.socket) -> None:
    buffer, left = bytearray(2**20), VAST
    while left:
        # MSG_TRUNC makes the kernel discard the bytes without a copy.
        got = sock.recv_into(buffer, min(left, len(buffer)), socket.MSG_TRUNC)
        assert got, f"{left} bytes are missing"
        left -= got


async def test_two_thousand_idle_connections() -> None:
    """They need little memory, others are served, and at the limit the oldest is closed."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most < 5000:
        needs.skip("fewer than 5000 open files allowed", "ulimit -Hn 5000 && make test")
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    async with Sandbox() as bank, program(bank.url) as proxy:
        assert (await ask(proxy, request("GET", "/echo"))).status == 200
        before = proxy.peak
        async with connected(proxy, 1000) as silent, connected(proxy, 999) as used:
            responses = await asyncio.gather(*[wire.ask() for wire in used])
            assert {response.status for response in responses} == {200}
            assert (await ask(proxy, request("GET", "/echo"))).status == 200
            assert proxy.peak - before < 60 * MB
            async with connected(proxy, 2):
                assert await silent[0].read_to_end() == b""
                assert (await used[0].ask()).status == 200


async def test_memory_is_flat_before_a_bank_that_does_not_read() -> None:
    """Reading from the caller is paused."""
    async with Sandbox() as bank, program(bank.url) as proxy:
        assert (await ask(proxy, request("GET", "/echo"))).status == 200
        bank.bank.faults.append(Fault("resource", hang=True, unread=True, path_prefix="/upload"))
        before = proxy.peak
        async with connect(proxy) as wire:
            await wire.send(request("POST", "/upload", f"Content-Length: {50 * MB}"))
            sending = asyncio.create_task(wire.send(*pattern(50 * MB)))
            await asyncio.sleep(1)  # enough for an unpaused sender to finish
            assert not sending.done()
            assert proxy.peak - before < 30 * MB
            sending.cancel()
            wire.reset()
        assert (await ask(proxy, request("GET", "/echo"))).status == 200


async def test_memory_is_flat_under_many_downloads() -> None:
    """64 at once; half of the callers pause."""
    size = 4 * MB
    async with Sandbox() as bank, program(bank.url) as proxy, connected(proxy, 64) as wires:
        assert (await ask(proxy, request("GET", "/echo"))).status == 200
        before = proxy.peak
        for wire in wires:
            await wire.send(request("GET", f"/download?bytes={size}"))
        responses = await asyncio.gather(*[wire.read_response() for wire in wires[:32]])
        assert {len(response.body) for response in responses} == {size}
        responses = await asyncio.gather(*[wire.read_response() for wire in wires[32:]])
        assert {len(response.body) for response in responses} == {size}
        assert proxy.peak - before < 100 * MB  # of 256 that were forwarded
