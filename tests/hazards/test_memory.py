"""How much of what passes through is held: the proxy in a process of its own, measured."""

import asyncio
import os
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from proxy.fields import Address
from proxy.sandbox import Fault, Sandbox, pattern, pattern_sha256
from tests.running import CLIENT
from tests.wire import ask, connect, connected, request

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

MB = 1_000_000


@dataclass
class Program:
    """A proxy in a process of its own."""

    pid: int
    data_address: Address

    @property
    def peak(self) -> int:
        """The most memory that it has ever had, in bytes."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        found = re.search(r"VmHWM:\s+(\d+) kB", status)
        assert found is not None
        return int(found[1]) * 1024


@asynccontextmanager
async def program(base_url: str, **settings: str) -> AsyncIterator[Program]:
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
        *(sys.executable, "-m", "proxy", "run"),
        stderr=asyncio.subprocess.PIPE,
        env=environment,
    )
    assert process.stderr is not None
    try:
        async with asyncio.timeout(20):
            while True:
                line = (await process.stderr.readline()).decode()
                assert line, "the proxy did not start"
                found = re.search(r'"listen": "([0-9.]+):(\d+)"', line)
                if found:
                    break
        yield Program(process.pid, Address(host=found[1], port=int(found[2])))
    finally:
        process.terminate()
        _, rest = await process.communicate()
        assert process.returncode == 0, rest.decode()


async def test_memory_is_flat() -> None:
    """Fifty megabytes up and down, and to a caller and from a bank that are slow."""
    size = 50 * MB
    async with Sandbox() as bank, program(bank.url) as proxy:
        assert (await ask(proxy, request("POST", "/upload", body=b"x" * 1000))).status == 200
        before = proxy.peak
        async with connect(proxy) as wire:
            await wire.send(request("POST", "/upload", f"Content-Length: {size}"), *pattern(size))
            answer = await wire.answer()
            assert answer.json() == {"bytes": size, "sha256": pattern_sha256(size)}
        async with connect(proxy) as wire:
            await wire.send(request("GET", f"/download?bytes={size}&chunked=1"))
            await asyncio.sleep(0.5)  # nobody reads: what is held now is what is ever held
            assert len((await wire.answer()).body) == size
        assert proxy.peak - before < 30 * MB


async def test_memory_is_flat_where_links_are_rewritten() -> None:
    """Fifty megabytes of JSON that is read on its way."""
    size = 50 * MB
    async with Sandbox() as bank, program(bank.url, rewrite_links="true") as proxy:
        assert (await ask(proxy, request("GET", "/v1/accounts"))).status == 200
        before = proxy.peak
        async with connect(proxy) as wire:
            await wire.send(request("GET", f"/v1/banking-images/7?bytes={size}"))
            await asyncio.sleep(0.5)  # nobody reads: what is held now is what is ever held
            answer = await wire.answer()
        assert answer.header("Transfer-Encoding") == "chunked"
        assert len(answer.json()["image"]) == (size + 2) // 3 * 4
        assert proxy.peak - before < 30 * MB


async def test_memory_is_flat_before_a_bank_that_does_not_read() -> None:
    """The caller is made to wait instead."""
    async with Sandbox() as bank, program(bank.url) as proxy:
        assert (await ask(proxy, request("GET", "/echo"))).status == 200
        bank.bank.faults.append(Fault("resource", hang=True, unread=True, path_prefix="/upload"))
        before = proxy.peak
        async with connect(proxy) as wire:
            await wire.send(request("POST", "/upload", f"Content-Length: {50 * MB}"))
            sending = asyncio.create_task(wire.send(*pattern(50 * MB)))
            await asyncio.sleep(1)  # a sender that nobody holds back would be done by now
            assert not sending.done()
            assert proxy.peak - before < 30 * MB
            sending.cancel()
            wire.reset()
        assert (await ask(proxy, request("GET", "/echo"))).status == 200


async def test_memory_is_flat_under_many_downloads() -> None:
    """Sixty-four of them at once, of which half the callers read nothing for a while."""
    size = 4 * MB
    async with Sandbox() as bank, program(bank.url) as proxy, connected(proxy, 64) as wires:
        assert (await ask(proxy, request("GET", "/echo"))).status == 200
        before = proxy.peak
        for wire in wires:
            await wire.send(request("GET", f"/download?bytes={size}"))
        answers = await asyncio.gather(*[wire.answer() for wire in wires[:32]])
        assert {len(answer.body) for answer in answers} == {size}
        answers = await asyncio.gather(*[wire.answer() for wire in wires[32:]])
        assert {len(answer.body) for answer in answers} == {size}
        assert proxy.peak - before < 100 * MB  # of 256 that went through
