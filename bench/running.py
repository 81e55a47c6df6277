"""Starts a proxy and checks that it forwards requests with the token."""

import http.client
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.machine import BenchError, Cores
from bench.peers import Peer, Setup, Wiring
from bench.processes import Process, free_port
from bench.upstream import SMALL, Upstream

PATIENCE = 30.0
"""Seconds until a proxy must have responded to its first request."""


@dataclass(frozen=True, slots=True)
class Running:
    """A running proxy. ``started_in`` is the time to its first response in seconds."""

    peer: Peer
    upstream: Upstream
    cores: Cores
    folder: Path
    port: int
    pid: int
    started_in: float


@contextmanager
def running(peer: Peer, setup: Setup, upstream: Upstream, cores: Cores) -> Iterator[Running]:
    """Start a proxy on its core. Raises ``BenchError`` if it does not forward with the token.

    The yielded proxy has forwarded a request with the token.
    """
    with tempfile.TemporaryDirectory(prefix=f"bench-{peer.name}-") as name:
        folder = Path(name)
        wiring = Wiring(setup, upstream, free_port(), free_port(), folder)
        launch = peer.launch(wiring)
        started = time.perf_counter()
        with Process(launch.command, cores.proxy, folder / "output", launch.variables) as process:
            _wait_for_answer(peer, process, wiring.port)
            started_in = time.perf_counter() - started
            yield Running(peer, upstream, cores, folder, wiring.port, process.pid, started_in)


def _wait_for_answer(peer: Peer, process: Process, port: int) -> None:
    deadline = time.perf_counter() + PATIENCE
    while time.perf_counter() < deadline and not process.has_ended:
        status, body = ask(port)
        if status == 200:
            if b'"authorized":true' not in body:
                raise BenchError(f"{peer.label} answers, but not with the upstream's answer.")
            return
        time.sleep(0.002)
    raise BenchError(f"{peer.label} does not forward requests:\n{process.last_words()}")


def ask(port: int) -> tuple[int, bytes]:
    """Return status and body of one response; status 0 without one."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", SMALL)
        answer = connection.getresponse()
        return answer.status, answer.read()
    except (OSError, http.client.HTTPException):
        return 0, b""
    finally:
        connection.close()
