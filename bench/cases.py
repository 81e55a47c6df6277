"""The measurements: each case compares several proxies."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from bench import samples
from bench.figures import Sample
from bench.load import LoadPlan
from bench.peers import PEERS, Setup
from bench.running import Running
from bench.upstream import BODIES, SINK, Tokens

SETUP, LASTING = Setup(), Tokens()
ALL = tuple(PEERS)
FRONT = ("ours", "compiled", "envoy", "nginx")
"""The fast proxies, for cases in which the others add nothing."""
RATE = 500
"""Requests per second in cases with a fixed rate."""

FULL_LOAD = "Full load: 700 bytes of JSON"
CALLERS = "Full load: how many callers"
LOG = "Full load: access log"
BODY = "Bodies"
INSTITUTIONS = "Full load: how many institutions"
LATENCY = f"Latency at {RATE} requests a second"
TOKENS = "Short-lived tokens"
FOOTPRINT = "Footprint"


@dataclass(frozen=True, slots=True)
class Case:
    """One measurement: ``rounds`` of ``seconds`` each. ``metrics`` are those in the report.

    ``fresh`` restarts the proxy for each sample; ``quick`` includes the case in quick runs.
    """

    name: str
    group: str
    title: str
    sample: Callable[[Running, int], Sample]
    metrics: Sequence[str]
    setup: Setup = SETUP
    tokens: Tokens = LASTING
    peers: Sequence[str] = ALL
    rounds: int = 5
    seconds: int = 3
    fresh: bool = False
    quick: bool = False


def _full_load() -> Iterator[Case]:
    sample = partial(samples.saturated, LoadPlan())
    split = ("cpu_us", "user_us", "system_us", "rps")
    tls, off, on = Setup(tls=True), Setup(access_log="off"), Setup(access_log="on")
    yield Case("small", FULL_LOAD, "plain upstream", sample, split, rounds=6, quick=True)
    yield Case("tls", FULL_LOAD, "TLS upstream", sample, split, tls, quick=True)
    yield Case("log_off", LOG, "off", sample, ("cpu_us",), off, peers=FRONT)
    yield Case("log_on", LOG, "on, as JSON", sample, ("cpu_us",), on, peers=FRONT, quick=True)


def _callers() -> Iterator[Case]:
    for number in (1, 32, 256, 1024):
        yield Case(
            f"callers_{number}",
            CALLERS,
            f"{number:,} connection{'s' if number > 1 else ''}",
            partial(samples.saturated, LoadPlan(number)),
            ("cpu_us", "rps"),
            Setup(callers=number),
            peers=FRONT,
            rounds=3,
            quick=number == 256,
        )


def _bodies() -> Iterator[Case]:
    for name, size in BODIES.items():
        # Requests unfinished at the end of a sample are not counted, so few large ones are in
        # flight.
        connections = 8 if size > 1_000_000 else 32
        for way, load in (
            ("down", LoadPlan(connections, f"/bodies/{name}")),
            ("up", LoadPlan(connections, SINK, upload=size)),
        ):
            yield Case(
                f"{way}_{name}",
                BODY,
                f"{name[:-1]} {name[-1].upper()}B {way}",
                partial(samples.streamed, load),
                ("cpu_us", "mbps") if size < 2000 else ("cpu_ms_per_mb", "mbps"),
                peers=FRONT,
                rounds=3,
                seconds=2,
                quick=name == "10m",
            )


def _institutions() -> Iterator[Case]:
    for number in (1, 100, 1000):
        yield Case(
            f"institutions_{number}",
            INSTITUTIONS,
            f"{number:,} in turn",
            partial(samples.saturated, LoadPlan(institutions=number)),
            ("cpu_us", "resident_mb"),
            Setup(institutions=number),
            peers=("ours", "compiled"),
            rounds=3,
        )


def _latency() -> Iterator[Case]:
    sample = partial(samples.steady, RATE)
    metrics = ("p50_ms", "p99_ms", "p999_ms", "late_p99_ms", "steady_cpu_us")
    tls = Setup(tls=True)
    yield Case(
        "latency", LATENCY, "plain upstream", sample, metrics, rounds=4, seconds=6, quick=True
    )
    yield Case(
        *("latency_tls", LATENCY, "TLS upstream", sample, metrics, tls),
        peers=FRONT,
        rounds=4,
        seconds=6,
    )


def _tokens() -> Iterator[Case]:
    cached = ("ours", "compiled", "envoy", "aiohttp")
    yield Case(
        "refresh",
        TOKENS,
        f"8 s, a token call takes 1 s, {RATE} requests a second",
        partial(samples.refreshed, RATE),
        (
            *("refreshes", "quiet_p99_ms", "refresh_p99_ms", "quiet_p999_ms", "refresh_p999_ms"),
            "refresh_slowest_ms",
        ),
        tokens=Tokens(lifetime=8, slow=True),
        peers=cached,
        rounds=2,
        seconds=12,
        fresh=True,
    )
    yield Case(
        "lifetime_5",
        TOKENS,
        "5 s, full load",
        partial(samples.short_lived, LoadPlan()),
        ("cpu_us", "rps", "token_calls_per_minute"),
        tokens=Tokens(lifetime=5),
        peers=cached,
        rounds=2,
        seconds=8,
        fresh=True,
    )


def _footprint() -> Iterator[Case]:
    yield Case(
        "startup",
        FOOTPRINT,
        "start to first forwarded request, token included",
        samples.started,
        ("start_ms",),
        rounds=7,
        seconds=1,
        fresh=True,
        quick=True,
    )
    yield Case(
        "memory",
        FOOTPRINT,
        "resident memory",
        samples.remembered,
        ("idle_mb", "loaded_mb", "bodies_mb"),
        rounds=1,
        fresh=True,
        quick=True,
    )
    yield Case(
        "idle",
        FOOTPRINT,
        "doing nothing",
        samples.rested,
        ("idle_us_per_s", "wake_ups_per_s"),
        peers=FRONT,
        rounds=1,
        seconds=20,
        quick=True,
    )


CASES = {
    case.name: case
    for cases in (
        *(_full_load(), _callers(), _bodies(), _institutions(), _latency(), _tokens()),
        _footprint(),
    )
    for case in cases
}
"""All cases by name, in the order of the report."""

FOOTPRINT_CASES = ("institutions_1", "institutions_1000", "startup", "memory", "idle")
"""The cases of `--footprint`."""
