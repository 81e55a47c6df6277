"""What tests need of a machine: programs and rights. A test without them is skipped, with a remedy.

The remedy is one command; ``tests/support/skips.py`` prints it at the end of the run. ``.ci/run``
installs the same packages.
"""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest

PACKAGES = {
    "amtool": "prometheus-alertmanager",
    "bash": "bash",
    "chromium": "chromium",
    "curl": "curl",
    "faketime": "faketime",
    "groff": "groff-base",
    "ip": "iproute2",
    "iptables": "iptables",
    "java": "default-jdk-headless",
    "ldd": "libc-bin",
    "mitmdump": "mitmproxy",
    "nginx": "nginx",
    "node": "nodejs",
    "openssl": "openssl",
    "perl": "perl",
    "php": "php-cli",
    "podman": "podman runc",
    "prometheus": "prometheus",
    "prometheus-alertmanager": "prometheus-alertmanager",
    "promtool": "prometheus",
    "redis-server": "redis-server",
    "squid": "squid",
    "systemd-analyze": "systemd",
    "taskset": "util-linux",
    "tinyproxy": "tinyproxy",
    "unshare": "util-linux",
    "wrk": "wrk",
}
"""Debian's packages, by the program that a test starts."""

BUILT = dict.fromkeys(("actionlint", "compose-spec", "helm", "kustomize"), "tools/kubernetes-tools")
"""Commands that build programs which Debian does not have."""

REMEDY = "; remedy: "
"""Separates the reason of a skip from the command that makes the test run."""


def skip(reason: str, remedy: str) -> NoReturn:
    """Skip the running test. ``remedy`` is a command for a shell."""
    pytest.skip(f"{reason}{REMEDY}{remedy}")


def skip_if(condition: bool, reason: str, remedy: str) -> pytest.MarkDecorator:
    """Return a mark that skips a test or a module where ``condition`` holds."""
    return pytest.mark.skipif(condition, reason=f"{reason}{REMEDY}{remedy}")


def programs(*names: str) -> pytest.MarkDecorator:
    """Return a mark that skips where a program is missing."""
    missing = [name for name in names if find(name) is None]
    return skip_if(bool(missing), *_reason_and_remedy(missing))


def program(name: str) -> str:
    """Return the path of a program, or skip the running test."""
    found = find(name)
    if found is None:
        skip(*_reason_and_remedy([name]))
    return found


def find(name: str) -> str | None:
    """Return the path of a program; those that ``go install`` built are found without PATH too."""
    return shutil.which(name, path=os.pathsep.join(_directories()))


def npm_package(name: str) -> Path:
    """Return the folder of a package of ``tests/support/package.json``, or skip the test."""
    folder = Path(__file__).parent / "node_modules" / name
    if not folder.is_dir():
        skip("packages of npm are not installed", "npm ci --ignore-scripts --prefix tests/support")
    return folder


def root() -> None:
    """Skip the running test where it is not root's."""
    if os.geteuid() != 0:
        skip("containers with another user's files need root", "sudo make test")


def _directories() -> Iterator[str]:
    yield os.environ.get("PATH", os.defpath)
    yield "/usr/sbin"  # nginx, squid; not on the PATH of most users
    packages = Path(os.environ.get("GOPATH") or "~/go").expanduser()
    yield os.environ.get("GOBIN") or str(packages / "bin")


def _reason_and_remedy(missing: list[str]) -> tuple[str, str]:
    """Return reason and remedy."""
    built = sorted({BUILT[name] for name in missing if name in BUILT})
    packages = " ".join(sorted({PACKAGES[name] for name in missing if name in PACKAGES}))
    install = [f"apt-get install {packages}"] if packages else []
    return f"{', '.join(missing)} not installed", " && ".join([*install, *built])
