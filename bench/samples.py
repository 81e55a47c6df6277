"""The kinds of measurement. Every function measures one proxy and returns metrics by name."""

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from bench import load as wrk
from bench.figures import Sample, percentile
from bench.load import LoadPlan
from bench.machine import ROOT, BenchError
from bench.measure import Usage, peak, resident, running_time, wake_ups
from bench.openloop import LatencyResult
from bench.running import Running
from bench.upstream import BODIES, SMALL

MB = 1_000_000
REFRESH = 1.2
"""Seconds before the end of a token call in which requests count as during a refresh."""


def saturated(what: LoadPlan, running: Running, seconds: int) -> Sample:
    """Measure CPU per request and requests per second under full load."""
    before = Usage.of(running.pid)
    outcome = _loaded(what, running, seconds)
    used = Usage.of(running.pid) - before
    if not outcome.requests:
        raise BenchError(f"{running.peer.label} answered nothing in {seconds} s.")
    return {
        "cpu_us": used.total / outcome.requests * 1e6,
        "user_us": used.user / outcome.requests * 1e6,
        "system_us": used.system / outcome.requests * 1e6,
        "rps": outcome.requests / outcome.seconds,
        "busy": used.total / outcome.seconds,
        "failed": outcome.failed / outcome.requests,
        "resident_mb": resident(running.pid) / MB,
    }


def streamed(what: LoadPlan, running: Running, seconds: int) -> Sample:
    """Measure CPU per byte and bytes per second under full load."""
    size = what.upload or BODIES[Path(what.path).name]
    sample = saturated(what, running, seconds)
    rate = sample["rps"] * size / MB
    return {**sample, "mbps": rate, "cpu_ms_per_mb": sample["cpu_us"] / 1000 / (size / MB)}


def short_lived(what: LoadPlan, running: Running, seconds: int) -> Sample:
    """Measure full load with short-lived tokens, and the number of token calls."""
    before = len(running.upstream.token_calls())
    sample = saturated(what, running, seconds)
    calls = len(running.upstream.token_calls()) - before
    return {**sample, "token_calls_per_minute": calls / seconds * 60}


def steady(rate: int, running: Running, seconds: int) -> Sample:
    """Measure latency in milliseconds and CPU at a fixed rate of requests."""
    before = running_time(running.pid)
    result = _open_loop(rate, running, seconds)
    used = running_time(running.pid) - before
    count = len(result.latencies)
    return {
        "p50_ms": percentile(result.latencies, 0.5) * 1000,
        "p99_ms": percentile(result.latencies, 0.99) * 1000,
        "p999_ms": percentile(result.latencies, 0.999) * 1000,
        "late_p99_ms": percentile(result.lateness, 0.99) * 1000,
        "steady_cpu_us": used / count * 1e6,
        "failed": result.failed / count,
    }


def refreshed(rate: int, running: Running, seconds: int) -> Sample:
    """Measure latency during token refreshes and outside of them."""
    result = _open_loop(rate, running, seconds)
    first, last = min(result.began), max(result.began)
    calls = [at for at in running.upstream.token_calls() if first <= at <= last]
    pairs = list(zip(result.began, result.latencies, strict=True))
    quiet = [late for at, late in pairs if not _is_near(at, calls)]
    during = [late for at, late in pairs if _is_near(at, calls)] or [0.0]
    return {
        "refreshes": len(calls),
        "quiet_p99_ms": percentile(quiet, 0.99) * 1000,
        "refresh_p99_ms": percentile(during, 0.99) * 1000,
        "quiet_p999_ms": percentile(quiet, 0.999) * 1000,
        "refresh_p999_ms": percentile(during, 0.999) * 1000,
        "refresh_slowest_ms": max(during) * 1000,
        "failed": result.failed / len(pairs),
    }


def _is_near(at: float, calls: Sequence[float]) -> bool:
    # nginx logs a call after its response, which takes a second here.
    return any(-REFRESH <= at - call <= 0.3 for call in calls)


def started(running: Running, _seconds: int) -> Sample:
    """Return the time from start to the first forwarded request."""
    return {"start_ms": running.started_in * 1000}


def remembered(running: Running, seconds: int) -> Sample:
    """Measure memory: idle, after many clients, after large bodies."""
    time.sleep(1)
    idle = resident(running.pid)
    _loaded(LoadPlan(256), running, seconds)
    loaded = resident(running.pid)
    _loaded(LoadPlan(8, "/bodies/10m"), running, seconds)
    return {
        "idle_mb": idle / MB,
        "loaded_mb": loaded / MB,
        "bodies_mb": resident(running.pid) / MB,
        "peak_mb": peak(running.pid) / MB,
    }


def rested(running: Running, seconds: int) -> Sample:
    """Measure CPU and wake-ups of an idle proxy."""
    time.sleep(1)
    cpu, woken = running_time(running.pid), wake_ups(running.pid)
    time.sleep(seconds)
    return {
        "idle_us_per_s": (running_time(running.pid) - cpu) / seconds * 1e6,
        "wake_ups_per_s": (wake_ups(running.pid) - woken) / seconds,
    }


def _loaded(what: LoadPlan, running: Running, seconds: int) -> wrk.Outcome:
    return wrk.run(running.port, what, seconds, running.cores.load, running.folder)


def _open_loop(rate: int, running: Running, seconds: int) -> LatencyResult:
    command = [
        *("taskset", "--cpu-list", str(running.cores.load), sys.executable, "-m"),
        *("bench.openloop", str(running.port), SMALL, str(rate), str(seconds), "1"),
    ]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, check=False, text=True, timeout=seconds + 60
    )
    if done.returncode:
        raise BenchError(f"the open loop broke off: {done.stderr.strip().splitlines()[-1]}")
    return LatencyResult(**json.loads(done.stdout))
