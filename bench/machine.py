"""The machine: its cores, required programs, and its description in a report."""

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
"""The folder of the programs from PyPI, installed by `make bench`."""

PACKAGES = {"nginx": "nginx", "wrk": "wrk", "taskset": "util-linux", "openssl": "openssl"}
"""Command to Debian package."""


class BenchError(Exception):
    """An error message for the user, as a sentence."""


@dataclass(frozen=True, slots=True)
class Cores:
    """The core of load and upstream, and the core of the proxy under test."""

    load: int
    proxy: int

    @classmethod
    def choose(cls) -> "Cores":
        """Return the first and the last core of this process. Raises ``BenchError``."""
        usable = sorted(os.sched_getaffinity(0))
        if len(usable) < 2:
            raise BenchError("Two cores are needed: one for the load, one for the proxy.")
        return cls(load=usable[-1], proxy=usable[0])


def need(commands: Sequence[str]) -> None:
    """Install missing programs if permitted; otherwise raise ``BenchError``."""
    missing = sorted({PACKAGES[name] for name in commands if shutil.which(name) is None})
    if not missing:
        return
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise BenchError(f"Missing, and to be installed by you: {', '.join(missing)}")
    print("Installing", *missing, file=sys.stderr)
    # RUNLEVEL=1 prevents Debian from starting its nginx service.
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    quietly = ["apt-get", "-qq", "-o", "Dpkg::Use-Pty=0"]
    for command in (["update"], ["install", "-y", "--no-install-recommends", *missing]):
        subprocess.run([*quietly, *command], check=True, env=environment, stdout=sys.stderr)


def allow_many_files() -> None:
    """Raise the limit of open files: a thousand clients need two thousand."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def stay_on(core: int) -> None:
    """Pin this process, and by default its children, to a core."""
    os.sched_setaffinity(0, {core})


def describe(cores: Cores) -> dict[str, str]:
    """Return the description of the machine for a report."""
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
    """Return a program's output; empty if it is not installed."""
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
