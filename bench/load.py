"""Closed-loop load: wrk, on one thread of the load's core.

A closed loop measures cost and throughput. It does not measure latency,
because a slow response delays the next request; ``openloop`` does.
"""

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from bench.machine import BenchError
from bench.peers import institution
from bench.upstream import SMALL


@dataclass(frozen=True, slots=True)
class LoadPlan:
    """The requests of the clients. ``upload`` is the size of a request body, 0 for a GET.

    With ``institutions``, they use that many in turn.
    """

    connections: int = 32
    path: str = SMALL
    upload: int = 0
    institutions: int = 1


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result: ``requests`` with a response, within ``seconds``.

    ``failed`` of them had a status other than 2xx or 3xx, or broke off.
    """

    requests: int
    failed: int
    seconds: float


def run(port: int, load: LoadPlan, seconds: int, core: int, folder: Path) -> Outcome:
    """Run ``load`` against a proxy for some seconds. Raises ``BenchError``."""
    script = folder / "load.lua"
    script.write_text(lua(load), encoding="ascii")
    command = [
        *("taskset", "--cpu-list", str(core), "wrk", "--threads", "1", "--timeout", "30s"),
        *("--connections", str(load.connections), "--duration", f"{seconds}s"),
        *("--script", str(script), f"http://127.0.0.1:{port}{load.path}"),
    ]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=seconds + 60, check=False
    )
    return read(done.stdout + done.stderr)


def lua(load: LoadPlan) -> str:
    """Return the Lua script for wrk."""
    if load.upload:
        return f'wrk.method = "POST"\nwrk.body = string.rep("x", {load.upload})\n'
    if load.institutions > 1:
        first = int(institution(0))
        return (
            "local at, requests = 0, {}\n"
            "init = function()\n"
            f"    for n = 1, {load.institutions} do\n"
            f'        local id = string.format("%05d", {first - 1} + n)\n'
            '        requests[n] = wrk.format(nil, nil, {["institutionId"] = id})\n'
            "    end\n"
            "end\n"
            "request = function()\n"
            "    at = at % #requests + 1\n"
            "    return requests[at]\n"
            "end\n"
        )
    return ""


def read(report: str) -> Outcome:
    """Parse wrk's output. Raises ``BenchError`` if it has no result."""
    total = re.search(r"(\d+) requests in ([\d.]+)(ms|s|m),", report)
    if total is None:
        raise BenchError(f"wrk has measured nothing:\n{report.strip()}")
    seconds = float(total[2]) * {"ms": 0.001, "s": 1, "m": 60}[total[3]]
    refused = re.search(r"Non-2xx or 3xx responses: (\d+)", report)
    broken = re.findall(r"(?:connect|read|write|timeout) (\d+)", report)
    failed = (int(refused[1]) if refused else 0) + sum(map(int, broken))
    return Outcome(int(total[1]), failed, seconds)
