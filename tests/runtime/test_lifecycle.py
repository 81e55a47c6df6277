"""The process: start, limits and end, tested with the real program."""

import asyncio
import hashlib
import os
import re
import resource
import socket
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from signal import SIGHUP, SIGINT, SIGKILL, SIGTERM, SIGUSR1, Signals
from typing import Any

import aiohttp
import pytest

from proxy.sandbox import Fault, Sandbox, Settings, pattern_sha256
from tests.support.process import RunningProxy, process, write_settings
from tests.support.program import slowed
from tests.support.running import DEADLINE, until

MEGABYTE = 1_000_000
LONG = 12 * MEGABYTE
"""Bytes of a download that no socket's buffer holds."""


@pytest.fixture
async def bank() -> AsyncIterator[Sandbox]:
    """A sandbox bank."""
    async with Sandbox() as bank:
        yield bank


@dataclass
class Reader:
    """A caller that downloads on its own connection and pauses once."""

    size: int
    received: int = 0
    head: bytes = b""
    digest: str = ""
    writer: asyncio.StreamWriter | None = None
    may_go_on: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self, running: RunningProxy, *, stop_at: int) -> None:
        """Download; pause at ``stop_at`` bytes until ``may_go_on``. Fails on a truncated body."""
        host, _, port = running.listen.rpartition(":")
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, (host, int(port)))
        reader, self.writer = await asyncio.open_connection(sock=sock, limit=16_384)
        request = f"GET /download?bytes={self.size} HTTP/1.1\r\nHost: x\r\n\r\n"
        self.writer.write(request.encode())
        try:
            await self._read(reader, stop_at)
        finally:
            self.writer.close()

    async def _read(self, reader: asyncio.StreamReader, stop_at: int) -> None:
        self.head = await reader.readuntil(b"\r\n\r\n")
        digest = hashlib.sha256()
        while self.received < self.size:
            if self.received >= stop_at:
                await self.may_go_on.wait()
            block = await reader.read(min(65_536, self.size - self.received))
            if not block:
                raise ConnectionError(f"cut after {self.received} of {self.size} bytes")
            self.received += len(block)
            digest.update(block)
        self.digest = digest.hexdigest()


async def is_refused(running: RunningProxy) -> bool:
    """Whether a new connection is refused."""
    host, _, port = running.listen.rpartition(":")
    try:
        _, writer = await asyncio.open_connection(host, int(port))
    except ConnectionRefusedError:
        return True
    writer.close()
    return False


async def becomes(condition: Callable[[], object]) -> None:
    """Wait until an asynchronous condition holds."""
    async with asyncio.timeout(DEADLINE):
        while not await condition():  # type: ignore[misc]  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.02)


async def test_sigterm_under_load_finishes_downloads(bank: Sandbox, tmp_path: Path) -> None:
    """Readiness ends, running requests finish, and the exit code is 0."""
    async with process(tmp_path / "proxy.yaml", bank.url, grace_period="20") as running:
        readers = [Reader(LONG) for _ in range(8)]
        downloads = [asyncio.create_task(one.run(running, stop_at=MEGABYTE)) for one in readers]
        outcomes: Counter[str] = Counter()
        load = [asyncio.create_task(call_until_gone(running, outcomes)) for _ in range(8)]
        await until(lambda: all(one.received >= MEGABYTE for one in readers))
        await until(lambda: outcomes["200"] > 100)
        running.program.send(SIGTERM)
        await becomes(lambda: is_refused(running))
        status, text = await running.ask("/readyz")
        assert (status, "shutting down" in text) == (503, True)
        assert not running.program.has_ended
        for one in readers:
            one.may_go_on.set()
        await asyncio.gather(*downloads)
        assert {one.digest for one in readers} == {pattern_sha256(LONG)}
        assert await running.program.end() == 0
        await asyncio.gather(*load)
        # A connection that closes unused is not a failed request.
        assert outcomes.keys() <= {"200", "refused", "closed unused"}
        assert [line["event"] for line in map(last_event, running.program.err[-1:])] == ["stopped"]


def last_event(line: str) -> dict[str, str]:
    """Return the event of a log line."""
    match = re.search(r'"event": "([^"]*)"', line)
    return {"event": match[1] if match else line}


async def call_until_gone(running: RunningProxy, outcomes: Counter[str]) -> None:
    """Send requests on one connection until the proxy ends; count the outcomes."""
    host, _, port = running.listen.rpartition(":")
    while True:
        try:
            reader, writer = await asyncio.open_connection(host, int(port))
        except ConnectionRefusedError:
            outcomes["refused"] += 1
            return
        try:
            while outcome := await one_request(reader, writer):
                outcomes[outcome] += 1
                if outcome != "200":
                    break
        finally:
            writer.close()


async def one_request(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> str:
    """Send a request and return its outcome; empty after a last response."""
    try:
        writer.write(b"GET /echo HTTP/1.1\r\nHost: x\r\n\r\n")
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        return "cut" if error.partial else "closed unused"
    except ConnectionError:
        return "closed unused"
    length = re.search(rb"Content-Length: (\d+)", head)
    assert length is not None
    await reader.readexactly(int(length[1]))
    return "" if b"Connection: close" in head else head[9:12].decode()


async def test_slow_reader_gets_its_complete_response(bank: Sandbox, tmp_path: Path) -> None:
    """The end waits for a response that the caller has not read yet."""
    async with process(tmp_path / "proxy.yaml", bank.url, grace_period="20") as running:
        reader = Reader(MEGABYTE)
        download = asyncio.create_task(reader.run(running, stop_at=1))
        await until(lambda: reader.received)
        running.program.send(SIGTERM)
        await becomes(lambda: is_refused(running))
        reader.may_go_on.set()
        await download
        assert reader.digest == pattern_sha256(MEGABYTE)
        assert await running.program.end() == 0


async def test_order_of_shutdown(bank: Sandbox, tmp_path: Path) -> None:
    """Not ready, ``drain_delay``, ports closed, requests finished, tokens revoked, exit."""
    async with (
        process(
            tmp_path / "proxy.yaml",
            bank.url,
            drain_delay="4",
            grace_period="20",
            revoke_on_shutdown="true",
        ) as running,
        aiohttp.ClientSession() as caller,
    ):
        reader = Reader(LONG)
        download = asyncio.create_task(reader.run(running, stop_at=1))
        await until(lambda: reader.received)
        loop = asyncio.get_running_loop()
        began = loop.time()
        running.program.send(SIGTERM)
        await becomes(lambda: is_not_ready(running))
        for _ in range(5):  # the load balancer has not noticed yet
            async with caller.get(running.url + "/echo") as response:
                assert response.status == 200
        await becomes(lambda: is_refused(running))
        assert loop.time() - began >= 3.9
        assert len(bank.bank.revocations) == 0, "a token in use is not revoked"
        reader.may_go_on.set()
        await download
        assert await running.program.end() == 0
        assert len(bank.bank.revocations) == 1
        assert list(bank.bank.live_tokens()) == []


async def is_not_ready(running: RunningProxy) -> bool:
    """Whether /readyz responds 503."""
    return (await running.ask("/readyz"))[0] == 503


async def test_failed_revocation_does_not_delay_the_end(bank: Sandbox, tmp_path: Path) -> None:
    """Revocation is tried for one token timeout, and its failure is logged."""
    bank.bank.faults.append(Fault("revoke", hang=True))
    async with process(
        tmp_path / "proxy.yaml",
        bank.url,
        revoke_on_shutdown="true",
        token={"timeout": "0.5"},
    ) as running:
        assert await running.program.end(SIGTERM) == 0
        assert "stopped" in running.program.err[-1]


async def test_killed_process_needs_no_recovery(bank: Sandbox, tmp_path: Path) -> None:
    """After SIGKILL the proxy starts normally with the same socket file and login."""
    settings: dict[str, Any] = {
        "listen": f"unix:{tmp_path}/proxy.sock",
        "refresh_token_file": str(tmp_path / "login.json"),
        "username": "juniper",
        "password_file": str(tmp_path / "password"),
    }
    (tmp_path / "password").write_text("moonlight")
    for _ in range(2):
        async with process(tmp_path / "proxy.yaml", bank.url, **settings) as running:
            connector = aiohttp.UnixConnector(str(tmp_path / "proxy.sock"))
            async with aiohttp.ClientSession(connector=connector) as caller:
                async with caller.get("http://proxy/echo") as response:
                    assert response.status == 200
                assert await running.program.end(SIGKILL) == -SIGKILL
                with pytest.raises(aiohttp.ClientError):
                    await caller.get("http://proxy/echo")
    grants = [request.grant for request in bank.bank.token_requests]
    assert grants == ["password", "refresh_token"]


async def test_killed_process_truncates_its_responses(bank: Sandbox, tmp_path: Path) -> None:
    """A caller within a response never sees a clean end."""
    async with process(tmp_path / "proxy.yaml", bank.url) as running:
        reader = Reader(LONG)
        download = asyncio.create_task(reader.run(running, stop_at=MEGABYTE))
        await until(lambda: reader.received >= MEGABYTE)
        running.program.send(SIGKILL)
        await running.program.end()
        reader.may_go_on.set()
        with pytest.raises(ConnectionError):
            await download


async def test_few_file_descriptors_limit_callers(bank: Sandbox, tmp_path: Path) -> None:
    """It accepts fewer callers, warns once and recovers."""
    limit = 400
    async with process(
        tmp_path / "proxy.yaml",
        bank.url,
        before=("/bin/sh", "-c", f'ulimit -n {limit}; exec "$0" "$@"'),
    ) as running:
        assert any("limit of open files" in line for line in running.program.err)
        callers = []
        for _ in range(300):
            reader, writer = await opened(running)
            writer.write(b"GET /slow?seconds=3 HTTP/1.1\r\nHost: x\r\n\r\n")
            callers.append((reader, writer))
        outcomes = Counter(await asyncio.gather(*(outcome_of(reader) for reader, _ in callers)))
        assert outcomes["200"] >= 20
        assert outcomes["503"] >= 1
        assert outcomes.keys() <= {"200", "503", "closed"}
        assert len(running.descriptors()) < limit
        for _, writer in callers:
            writer.close()
        warnings = [line for line in running.program.err if "as many callers as may be" in line]
        assert len(warnings) == 1
        await becomes(lambda: works(running))
        assert (await running.ask("/livez"))[0] == 200
        assert not any("Traceback" in line for line in running.program.err)


async def opened(running: RunningProxy) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Open a connection."""
    host, _, port = running.listen.rpartition(":")
    return await asyncio.open_connection(host, int(port))


async def outcome_of(reader: asyncio.StreamReader) -> str:
    """Return the status of the response, or ``closed``."""
    try:
        return (await reader.readuntil(b"\r\n"))[9:12].decode()
    except (asyncio.IncompleteReadError, ConnectionError):
        return "closed"


async def works(running: RunningProxy) -> bool:
    """Whether a request on a new connection gets a 200."""
    reader, writer = await opened(running)
    writer.write(b"GET /echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    outcome = await outcome_of(reader)
    writer.close()
    return outcome == "200"


async def test_file_limit_reached_at_run_time_is_a_503(bank: Sandbox, tmp_path: Path) -> None:
    """Callers get a 503 until files can be opened again."""
    async with process(tmp_path / "proxy.yaml", bank.url) as running:
        before = resource.prlimit(running.pid, resource.RLIMIT_NOFILE)
        reader, writer = await opened(running)
        writer.write(b"GET /slow?seconds=0.5 HTTP/1.1\r\nHost: x\r\n\r\n")  # uses the connection
        other, other_writer = await opened(running)
        await becomes(lambda: is_serving(running))
        # Open files stay open; no more can be opened.
        resource.prlimit(running.pid, resource.RLIMIT_NOFILE, (3, before[1]))
        other_writer.write(b"GET /echo HTTP/1.1\r\nHost: x\r\n\r\n")
        head = await other.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 503")
        assert b"x-proxy-error-source: proxy" in head
        assert await outcome_of(reader) == "200"
        resource.prlimit(running.pid, resource.RLIMIT_NOFILE, before)
        assert await works(running)
        writer.close()
        other_writer.close()


async def is_serving(running: RunningProxy) -> bool:
    """Whether a request is in flight."""
    return await running.sample("candescent_proxy_requests_in_flight") == 1


async def test_memory_stays_flat_under_downloads(bank: Sandbox, tmp_path: Path) -> None:
    """64 slow downloads cost buffers, not bodies.

    8 MB each, so that the test takes seconds; with CANDESCENT_TESTS_FULL, 64 MB.
    """
    size = (64 if os.environ.get("CANDESCENT_TESTS_FULL") else 8) * MEGABYTE
    async with process(
        tmp_path / "proxy.yaml", bank.url, limits={"idle_timeout": "600"}
    ) as running:
        before = running.resident()
        readers = [Reader(size) for _ in range(64)]
        downloads = [asyncio.create_task(one.run(running, stop_at=1)) for one in readers]
        await until(lambda: all(one.received for one in readers))
        await until(lambda: len(bank.bank.arrivals) == 64)
        await asyncio.sleep(1)  # enough for a proxy that buffers to receive all
        peak = running.resident()
        for one in readers:
            one.may_go_on.set()
        async with asyncio.timeout(DEADLINE):
            await asyncio.gather(*downloads)
        after = running.resident()
        assert {one.digest for one in readers} == {pattern_sha256(size)}
        # Each download may fill the buffers of two sockets, about a megabyte.
        assert peak - before < 64 * 1.5 * MEGABYTE
        assert after - before < 64 * 1.5 * MEGABYTE


async def test_short_lived_tokens_under_load(tmp_path: Path) -> None:
    """Tokens are refreshed early, and no request gets an expired one."""
    async with (
        Sandbox(Settings(lifetime=slowed(1, DEADLINE / 8))) as bank,
        process(tmp_path / "proxy.yaml", bank.url) as running,
    ):
        outcomes: Counter[str] = Counter()
        load = [asyncio.create_task(call_until_gone(running, outcomes)) for _ in range(4)]
        await until(lambda: len(bank.bank.token_requests) >= 10)
        for task in load:
            task.cancel()
        await asyncio.gather(*load, return_exceptions=True)
        assert outcomes.keys() == {"200"}
        refused = [name for name in bank.bank.counts if name.startswith("resource CMN")]
        assert refused == []


async def test_sighup_reloads_the_configuration(bank: Sandbox, tmp_path: Path) -> None:
    """SIGHUP applies a changed file at once, also without a reload interval."""
    file = tmp_path / "proxy.yaml"
    async with (
        process(file, bank.url, reload_interval="0") as running,
        aiohttp.ClientSession(headers={"institutionId": "00017"}) as caller,
    ):
        async with caller.get(running.url + "/echo") as response:
            assert response.status == 403
        write_settings(file, bank.url, reload_interval="0", allowed_institutions=["00017"])
        running.program.send(SIGHUP)
        taken = await running.program.wait_for_event("configuration reloaded")
        assert taken["why"] == "signal"
        async with caller.get(running.url + "/echo") as response:
            assert response.status == 200
        file.write_text("nonsense: [")
        running.program.send(SIGHUP)
        _ = await running.program.wait_for_event("configuration reload failed")
        assert await running.sample("candescent_proxy_last_reload_successful") == 0
        async with caller.get(running.url + "/echo") as response:
            assert response.status == 200


async def test_sigusr1_opens_the_access_log_anew(bank: Sandbox, tmp_path: Path) -> None:
    """After logrotate has renamed it; without such a file the signal does nothing."""
    path, old = tmp_path / "access.log", tmp_path / "access.log.1"
    log = {"access": "on", "access_file": str(path), "access_format": "{path}"}
    async with (
        process(tmp_path / "proxy.yaml", bank.url, log=log) as running,
        aiohttp.ClientSession() as caller,
    ):
        for name in ("one", "two"):
            async with caller.get(f"{running.url}/echo/{name}") as response:
                assert response.status == 200
            await until(lambda: path.stat().st_size)
            if name == "one":
                path.rename(old)
                running.program.send(SIGUSR1)
                await until(path.exists)
        running.program.send(SIGTERM)
        assert await running.program.end() == 0
    assert (old.read_text(), path.read_text()) == ("/echo/one\n", "/echo/two\n")
    async with process(tmp_path / "proxy.yaml", bank.url) as running:
        running.program.send(SIGUSR1)
        running.program.send(SIGTERM)
        assert await running.program.end() == 0


async def test_quitquitquit_ends_the_process(bank: Sandbox, tmp_path: Path) -> None:
    """The endpoint ends it like a signal, where it is allowed."""
    async with process(tmp_path / "proxy.yaml", bank.url, admin_actions="true") as running:
        assert (await running.ask("/quitquitquit", "POST"))[0] == 200
        assert await running.program.end() == 0
        stopping = await running.program.wait_for_event("stopping")
        assert stopping["reason"] == "asked to"


async def test_download_across_reload_and_end(bank: Sandbox, tmp_path: Path) -> None:
    """A response that began before a reload is finished during the shutdown."""
    file = tmp_path / "proxy.yaml"
    async with process(file, bank.url, grace_period="20", reload_interval="0") as running:
        reader = Reader(LONG)
        download = asyncio.create_task(reader.run(running, stop_at=1))
        await until(lambda: reader.received)
        running.program.send(SIGHUP)
        _ = await running.program.wait_for_event("configuration reloaded")
        running.program.send(SIGTERM)
        await becomes(lambda: is_refused(running))
        reader.may_go_on.set()
        await download
        assert await running.program.end() == 0


@pytest.mark.parametrize("number", [SIGTERM, SIGINT])
async def test_second_signal_ends_a_drain_at_once(
    bank: Sandbox, number: Signals, tmp_path: Path
) -> None:
    """With the exit code of the signal, and a line that says why."""
    bank.bank.faults.append(Fault("resource", hang=True))
    async with (
        process(tmp_path / "proxy.yaml", bank.url, grace_period="600") as running,
        aiohttp.ClientSession(running.url) as caller,
    ):
        call = asyncio.create_task(caller.get("/v1/accounts?loginId=juniper.quill"))
        await until(lambda: bank.bank.arrivals)
        running.program.send(SIGTERM)
        await running.program.wait_for_event("stopping")
        async with asyncio.timeout(DEADLINE):
            while not running.program.has_ended:
                running.program.send(number)
                await asyncio.sleep(0.1)
        assert await running.program.end() == 128 + number
        with pytest.raises(aiohttp.ClientError):
            await call
    (line,) = running.program.events("ended by a second signal")
    assert line["signal"] == number.name
