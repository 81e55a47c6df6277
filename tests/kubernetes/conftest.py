"""Fixtures: charts, secrets, the image, and a node to run pods on."""

import fcntl
import hashlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kubernetes.commands import LIBRARY, ROOT, helm, output, podman, run
from tests.kubernetes.kubelet import Node
from tests.support import needs
from tests.support.certificates import OpensslAuthority
from tests.tokens.fleet.encryption_keys import key_line

IMAGE = "localhost/candescent-proxy:test"
BASE = "python:3.14-slim"


@pytest.fixture(scope="session")
def examples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example charts, with the library chart as their dependency."""
    copy = tmp_path_factory.mktemp("charts") / "helm"
    shutil.copytree(ROOT / "helm", copy)
    for chart in sorted((copy / "examples").glob("*/Chart.yaml")):
        helm("dependency", "build", chart.parent)
        assert list((chart.parent / "charts").glob(f"{LIBRARY.name}-*.tgz"))
    return copy / "examples"


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> OpensslAuthority:
    """The certificate authority of the cluster."""
    return OpensslAuthority.make(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="session")
def secrets(authority: OpensslAuthority) -> dict[str, dict[str, bytes]]:
    """The Secrets that the values name, with credentials of the sandbox."""
    login = {
        "client-id": b"sandbox-client",
        "client-secret": b"sandbox-secret\n",
        "password": b"moonlight",
    }
    certificate = authority.issue("gateway", "DNS:localhost", "IP:127.0.0.1")
    tls = {
        "tls.crt": certificate.read_bytes(),
        "tls.key": certificate.with_suffix(".key").read_bytes(),
        "ca.crt": authority.file.read_bytes(),
    }
    callers = {"secret": b"a" * 40, "current": b"b" * 40, "next": b"c" * 40}
    store = {
        "encryption-key": key_line().encode(),
        "seal": key_line("k2").encode(),
        "password": b"moss",
        "sentinel": b"fern",
        **tls,
    }
    logins = dict.fromkeys(("candescent", "candescent-main", "candescent-cu-17"), login)
    return {
        **logins,
        "gateway-tls": tls,
        "candescent-callers": callers,
        "candescent-store": store,
    }


@pytest.fixture(scope="session")
def image() -> str:
    """The image of the current tree, built once for all workers."""
    if run(*podman(), "image", "exists", BASE).returncode:
        needs.skip(f"no image {BASE}", "sudo tools/base-image")
    (ROOT / "build").mkdir(exist_ok=True)
    with (ROOT / "build/image.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        made_of = _fingerprint()
        known = run(*podman(), "image", "inspect", "--format", "{{.Labels.madeOf}} {{.Id}}", IMAGE)
        old, _, identity = known.stdout.strip().partition(" ")
        if old != made_of:
            output(
                *podman(),
                *("build", "--isolation=chroot", "--pull=never", "--layers=false"),
                "--format=docker",
                *("--label", f"madeOf={made_of}", "--build-arg", "VERSION=test"),
                *("--build-arg", "MYPYC_OPT_LEVEL=0"),
                *("--tag", IMAGE, ROOT),
            )
            run(*podman(), "rmi", identity)  # unless a container of it still runs
    return IMAGE


def _fingerprint() -> str:
    """Return a digest of all inputs of the image."""
    alone = ("Dockerfile", ".dockerignore", "tools/image_root.py", "pyproject.toml")
    paths = [ROOT / name for name in alone]
    paths += sorted([*(ROOT / "requirements").glob("*.txt"), *(ROOT / "proxy").rglob("*.py")])
    digest = hashlib.sha256(output(*podman(), "image", "inspect", BASE).encode())
    for path in paths:
        digest.update(f"{path}\0".encode() + path.read_bytes())
    return digest.hexdigest()


@pytest.fixture
def node(image: str, tmp_path: Path) -> Iterator[Node]:
    """An empty node; the applications of the examples are Python programs."""
    names = {"legacy-application:1.0": BASE, "nightly-report:1.0": BASE}
    node = Node(tmp_path / "volumes", image, names | {"candescent-proxy:0.1.0": image})
    yield node
    node.clean()
