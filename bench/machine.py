"""The machine: its cores, the programs that have to be there, and what a report says of both."""

import os
import platform
import re
import resource
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
BUILD = ROOT / "build" / "bench"
TOOLS = BUILD / "venv" / "bin"
"""Where the programs that come from PyPI are: `make bench` puts them there."""

PACKAGES = {"nginx": "nginx", "wrk": "wrk", "taskset": "util-linux", "openssl": "openssl"}
"""Command to Debian package."""


class BenchError(Exception):
    """Something that the person at the keyboard has to hear, in a sentence."""


@dataclass(frozen=True, slots=True)
class Cores:
    """Which core carries the load and the upstream, and which the proxy under test."""

    load: int
    proxy: int

    @classmethod
    def choose(cls) -> "Cores":
        """Take the first and the last core that this process may use; raises ``BenchError``."""
        usable = sorted(os.sched_getaffinity(0))
        if len(usable) < 2:
            raise BenchError("Two cores are needed: one for the load, one for the proxy.")
        return cls(load=usable[-1], proxy=usable[0])


def need(commands: Sequence[str]) -> None:
    """Install what is missing, if we may; raises ``BenchError`` if not."""
    missing = sorted({PACKAGES[name] for name in commands if shutil.which(name) is None})
    if not missing:
        return
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise BenchError(f"Missing, and to be installed by you: {', '.join(missing)}")
    print("Installing", *missing, file=sys.stderr)
    # RUNLEVEL=1 keeps Debian from starting an nginx of its own on port 80.
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    quietly = ["apt-get", "-qq", "-o", "Dpkg::Use-Pty=0"]
    for command in (["update"], ["install", "-y", "--no-install-recommends", *missing]):
        subprocess.run([*quietly, *command], check=True, env=environment, stdout=sys.stderr)


def allow_many_files() -> None:
    """Raise the limit on open files as far as we may: a thousand callers take two thousand."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def stay_on(core: int) -> None:
    """Keep this process, and what it starts without another word, on one core."""
    os.sched_setaffinity(0, {core})


def describe(cores: Cores) -> dict[str, str]:
    """Return what a reader has to know to judge the figures."""
    return {
        "processor": _first(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text()),
        "cores": f"{os.cpu_count()} ({_relation(cores)})",
        "kernel": platform.release(),
        "python": platform.python_version(),
        "nginx": _first(r"nginx/(\S+)", _said("nginx", "-v")),
        "envoy": _first(r"version: [0-9a-f]+/([^/]+)", _said(TOOLS / "envoy", "--version")),
        "commit": _said("git", "-C", ROOT, "describe", "--always", "--dirty", "--exclude=*"),
    }


def _relation(cores: Cores) -> str:
    siblings = Path(f"/sys/devices/system/cpu/cpu{cores.proxy}/topology/thread_siblings_list")
    if not siblings.exists():
        return "relation unknown"
    together = str(cores.load) in re.split(r"[,-]", siblings.read_text().strip())
    return "the two used are threads of one core" if together else "the two used are separate"


def _said(program: str | Path, *arguments: str | Path) -> str:
    """Return what a program says, or nothing where it is not there."""
    try:
        done = subprocess.run(
            [program, *arguments], capture_output=True, text=True, timeout=20, check=False
        )
    except OSError:
        return ""
    return (done.stdout + done.stderr).strip() if done.returncode == 0 else ""


def _first(pattern: str, text: str) -> str:
    found = re.search(pattern, text)
    return found[1] if found else ""
