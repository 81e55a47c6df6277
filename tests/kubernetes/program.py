"""The real program, run as a rendered container: arguments, environment and files."""

import os
import subprocess
import sys
from pathlib import Path

from tests.kubernetes.pods import Pod, write


class InstalledProgram:
    """A container's files below a test directory, and the program that runs there.

    Only paths in configuration and environment are changed.
    """

    def __init__(self, pod: Pod, root: Path, name: str = "candescent-proxy") -> None:
        self._container = pod.container(name)
        self._root = root
        self._mounts = pod.mounts(name)
        for directory, files in self._mounts.items():
            there = {path: self._lead(content) for path, content in files.items()}
            write(root / directory.lstrip("/"), there)

    def check(self) -> subprocess.CompletedProcess[str]:
        """Run ``check-config`` as the container."""
        return subprocess.run(
            self._command("check-config"),
            env=self._environment(),
            capture_output=True,
            text=True,
            check=False,
        )

    def start(self) -> subprocess.Popen[str]:
        """Start it with the container's arguments."""
        return subprocess.Popen(
            self._command(*self._container["args"]),
            env=self._environment(),
            stderr=subprocess.PIPE,
            text=True,
        )

    def _command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "proxy.cli", *arguments]

    def _environment(self) -> dict[str, str]:
        given = {each["name"]: each["value"] for each in self._container.get("env") or ()}
        own = {name: self._lead(value.encode()).decode() for name, value in given.items()}
        return {"PATH": os.environ["PATH"], "LANG": "C.UTF-8"} | own

    def _lead(self, content: bytes) -> bytes:
        for directory in self._mounts:
            there = self._root / directory.lstrip("/")
            content = content.replace(directory.encode() + b"/", f"{there}/".encode())
        return content
