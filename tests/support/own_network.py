"""Runs a function in a network of its own: addresses, firewall and DNS as a test wants them.

The function is a coroutine without arguments that returns a JSON document. It runs in a program of
its own, in namespaces where it is root; there 192.0.2.1 to 192.0.2.9 are addresses of the machine,
and 127.0.0.1 is its name server.
"""

import asyncio
import importlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from tests.support import needs
from tests.support.pages import ROOT
from tests.support.running import DEADLINE

_ALONE = ("unshare", "--map-root-user", "--net", "--mount", "--kill-child", "--pid", "--fork")
_FILES = {
    "/etc/resolv.conf": "nameserver 127.0.0.1\noptions timeout:5 attempts:1\n",
    "/etc/hosts": "127.0.0.1 localhost\n",
    "/etc/nsswitch.conf": "hosts: files dns\n",
}

Scenario = Callable[[], Coroutine[Any, Any, Any]]


async def run_alone(scenario: Scenario) -> Any:
    """Return what the scenario returns; skip the test where namespaces are not allowed."""
    for name in ("unshare", "ip", "iptables"):
        needs.program(name)
    code, _, _ = await _run("true")
    if code:
        needs.skip("no network namespace allowed", "sudo make test")
    name = f"{scenario.__module__}:{scenario.__name__}"
    code, out, err = await _run(sys.executable, "-m", "tests.support.own_network", name)
    assert code == 0, err
    return json.loads(out.splitlines()[-1])


async def _run(*command: str) -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        *(*_ALONE, *command),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        out, err = await asyncio.wait_for(process.communicate(), DEADLINE)
    finally:
        if process.returncode is None:
            process.kill()
    return process.returncode or 0, out.decode(), err.decode()


def command(*words: str) -> str:
    """Run a command; return its output."""
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout


def drop(address: str) -> None:
    """Let a firewall drop what is sent to an address."""
    command("iptables", "-A", "INPUT", "-d", address, "-j", "DROP")


def dropped(address: str) -> int:
    """Return how many packets to an address were dropped."""
    lines = command("iptables", "-nvxL", "INPUT").splitlines()
    return sum(int(line.split()[0]) for line in lines if address in line)


def _prepare(folder: Path) -> None:
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    command("ip", "link", "set", "lo", "up")
    for last in range(1, 10):
        command("ip", "address", "add", f"192.0.2.{last}/32", "dev", "lo")
    for path, text in _FILES.items():
        file = folder / Path(path).name
        file.write_text(text)
        command("mount", "--bind", str(file), path)


def main(name: str) -> None:
    """Run a scenario and print what it returns."""
    module, _, function = name.partition(":")
    with tempfile.TemporaryDirectory() as folder:
        _prepare(Path(folder))
        result = asyncio.run(getattr(importlib.import_module(module), function)())
        print(json.dumps(result), flush=True)  # noqa: T201 - read by the test
        for path in _FILES:
            command("umount", path)


if __name__ == "__main__":
    main(sys.argv[1])
