"""Docker, Compose and Helm as in README and docs/compose.md, with podman as Docker."""

import json
import shutil
import socket
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import yaml

from tests.kubernetes.commands import objects, only, output, podman, run
from tests.kubernetes.kubelet import until
from tests.kubernetes.rules import broken
from tests.support.needs import program
from tests.support.pages import ROOT, shell_block
from tests.support.program import CREDENTIALS
from tests.support.shell import type_lines

pytestmark = pytest.mark.machine_clock  # containers have it

README, PAGE = ROOT / "README.md", ROOT / "docs/compose.md"
COMPOSE = ROOT / "deploy/compose.yaml"
DOCKER = """#!/bin/sh
if [ "$1" = compose ]; then shift; exec podman-compose "$@"; fi
exec podman "$@"
"""
# Raising limits, podman's default, is not permitted on every machine.
CONTAINERS = """
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]
[engine]
"""


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a ``docker`` command that is podman."""
    command = podman()
    runtime = f'runtime = "{command[2]}"\n' if command[1:] else ""
    (tmp_path / "containers.conf").write_text(CONTAINERS + runtime, encoding="utf-8")
    monkeypatch.setenv("CONTAINERS_CONF", str(tmp_path / "containers.conf"))
    folder = tmp_path / "docker"
    folder.mkdir()
    (folder / "docker").write_text(DOCKER, encoding="utf-8")
    (folder / "docker").chmod(0o755)
    return folder


@pytest.fixture
def name() -> Iterator[str]:
    """A name for containers of this test, which are removed at the end."""
    name = f"candescent-test-{uuid.uuid4().hex[:12]}"
    yield name
    found = output(*podman(), "ps", "--all", "--quiet", "--filter", f"name={name}").split()
    run(*podman(), "rm", "--force", "--depend", "--time", "0", *found)


def free_ports(count: int) -> list[str]:
    """Return free ports of this machine."""
    with ExitStack() as stack:
        taken = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [str(each.getsockname()[1]) for each in taken]


def bank(image: str, name: str) -> str:
    """Start a sandbox bank in a container; return its URL in podman's network."""
    flags = ("--detach", "--name", f"{name}-bank", "--no-healthcheck")
    output(*podman(), "run", *flags, image, "sandbox", "--listen", "0.0.0.0:8081")
    address = "{{.NetworkSettings.IPAddress}}"
    return (
        f"http://{output(*podman(), 'inspect', '--format', address, f'{name}-bank').strip()}:8081"
    )


def test_docker_run(image: str, docker: Path, name: str, tmp_path: Path) -> None:
    """The container of README serves the call of README."""
    lines = shell_block(README, "make image\n").removeprefix("make image\n")
    call = shell_block(README, "curl ")
    ours = zip(("127.0.0.1:8080", "127.0.0.1:9090"), free_ports(2), strict=True)
    changes = {place: f"127.0.0.1:{port}" for place, port in ours}
    changes |= {
        "--name candescent-proxy": f"--name {name}",
        " candescent-proxy run": f" {image} run",
    }
    for old, new in changes.items():
        assert old in lines
        lines, call = lines.replace(old, new), call.replace(old, new)
    url = bank(image, name)
    type_lines(lines, tmp_path, {"CANDESCENT_BASE_URL": url, **CREDENTIALS}, docker)
    call = call.replace(
        "curl", "curl --silent --fail --retry 30 --retry-all-errors --retry-delay 1"
    )
    assert json.loads(type_lines(call, tmp_path))["accounts"]


def test_compose(image: str, docker: Path, name: str, tmp_path: Path) -> None:
    """Application, proxy and sandbox work; secrets are files."""
    shutil.copytree(ROOT / "deploy", tmp_path / "deploy")
    lines = shell_block(PAGE, "mkdir -p deploy/secrets\nprintf %s sandbox-client")
    start, _, logs = lines.partition(" up --detach\n")
    (port,) = free_ports(1)
    variables = {
        "COMPOSE_PROJECT_NAME": name,
        "PROXY_IMAGE": image,
        "PROXY_ADMIN_PORT": port,
    }
    # Prometheus and Grafana would need an image registry.
    start += " up --detach proxy sandbox application\n"
    type_lines(start, tmp_path, variables, docker)
    environment = "export CANDESCENT_INSTITUTION_ID=00016\n"

    def reported() -> str:
        return type_lines(environment + logs, tmp_path, variables, docker)

    until(lambda: "Everyday Checking" in reported())
    ready = type_lines(f"curl --silent http://127.0.0.1:{port}/readyz", tmp_path)
    assert json.loads(ready)["status"] == "ready"


def test_compose_file_conforms_to_the_specification() -> None:
    """By Docker Compose's own loader."""
    output(program("compose-spec"), "-no-interpolation", COMPOSE)


def test_compose_file_names_existing_files() -> None:
    """Mounted files, Prometheus's configuration, and the image's base."""
    services = yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))["services"]
    base = f"ARG BASE={services['application']['image']}\n"
    assert base in (ROOT / "Dockerfile").read_text(encoding="utf-8")
    mounted = [each.split(":")[0] for one in services.values() for each in one.get("volumes", ())]
    files = [COMPOSE.parent / each for each in mounted if each.startswith("./")]
    assert len(files) == 4
    assert [file for file in files if not file.exists()] == []
    promtool = program("promtool")
    output(promtool, "check", "config", COMPOSE.parent / "prometheus/prometheus.yaml")


def test_helm_install() -> None:
    """README's values render valid objects, and its Secret has the chart's keys."""
    lines = shell_block(README, "kubectl create secret").replace("\\\n", " ")
    secret, install = lines.splitlines()
    keys = {Path(word.partition("=")[2]).name for word in secret.split() if "--from-file" in word}
    assert keys == {"client-id", "client-secret"}
    helm = f"{program('helm')} "
    rendered = install.replace("helm install", f"{helm} template", 1)
    made = objects(type_lines(rendered, ROOT, CREDENTIALS))
    assert broken(made) == []
    assert CREDENTIALS["CANDESCENT_INSTITUTION_ID"] in str(only(made, "ConfigMap"))
    type_lines(install.replace("helm install candescent-proxy", f"{helm} lint"), ROOT, CREDENTIALS)
