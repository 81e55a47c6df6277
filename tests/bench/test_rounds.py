"""Rounds of a case with real proxies and a real upstream."""

import os
from functools import partial
from pathlib import Path

import pytest

from bench import samples
from bench.cases import Case
from bench.figures import Sample
from bench.load import LoadPlan
from bench.machine import BenchError, Cores
from bench.peers import PEERS, Launch, Peer, Setup
from bench.rounds import play
from bench.running import Running
from tests.support import needs

pytestmark = needs.programs("nginx", "wrk", "taskset", "openssl")
FAST = ("ours", "nginx")
"""Those that need nothing from PyPI."""


@pytest.fixture
def cores() -> Cores:
    """One core for everything, because speed does not matter here."""
    core = min(os.sched_getaffinity(0))
    return Cores(core, core)


def case(sample: object, **more: object) -> Case:
    """Return a short case."""
    settings = {"rounds": 2, "seconds": 1, "metrics": ()} | more
    return Case("x", "group", "title", sample, **settings)  # type: ignore[arg-type]  # a test function


def test_proxies_run_in_turn(cores: Cores) -> None:
    """They live through all rounds and forward tokens."""
    reported: list[tuple[int, str]] = []
    pids: set[int] = set()

    def sample(running: Running, seconds: int) -> Sample:
        pids.add(running.pid)
        return {"calls": len(running.upstream.token_calls()), "seconds": seconds}

    rounds = play(
        case(sample), FAST, cores, lambda number, name, _: reported.append((number, name))
    )
    assert reported == [(0, "ours"), (0, "nginx"), (1, "ours"), (1, "nginx")]
    assert [list(one) for one in rounds] == [list(FAST)] * 2
    assert rounds[0]["ours"] == {"calls": 1, "seconds": 1}
    assert len(pids) == 2


@pytest.mark.parametrize(
    "load",
    [
        LoadPlan(),
        LoadPlan(institutions=3),
    ],
    ids=["small", "institutions"],
)
def test_load_has_no_failure(cores: Cores, load: LoadPlan) -> None:
    """Every request is forwarded with its token."""
    setup = Setup(institutions=load.institutions, tls=load == LoadPlan())
    one = case(partial(samples.saturated, load), setup=setup, rounds=1)
    [sample] = [sample["ours"] for sample in play(one, ("ours",), cores, lambda *_: None)]
    assert sample["failed"] == 0
    assert sample["rps"] > 0
    assert 0 < sample["cpu_us"] == pytest.approx(sample["user_us"] + sample["system_us"])


def test_failed_sample_is_left_out(cores: Cores, capsys: pytest.CaptureFixture[str]) -> None:
    """And reported; others stay."""
    calls = 0

    def sample(running: Running, _seconds: int) -> Sample:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise BenchError("it was not its day")
        return {"pid": running.pid}

    rounds = play(case(sample, fresh=True), FAST, cores, lambda *_: None)
    assert [list(one) for one in rounds] == [["ours"], ["ours", "nginx"]]
    assert "nginx: it was not its day" in capsys.readouterr().err


def test_proxy_that_does_not_start_is_reported(
    cores: Cores, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """With its output."""
    script = tmp_path / "broken"
    script.write_text("#!/bin/sh\necho no config >&2; exit 3\n")
    script.chmod(0o755)
    monkeypatch.setitem(PEERS, "broken", Peer("broken", "Broken", lambda _: Launch([script])))
    with pytest.raises(BenchError, match="Broken does not forward requests:\nno config"):
        play(case(samples.started), ("broken",), cores, lambda *_: None)
