"""The image: its content, and how it runs."""

import json
import re
from typing import Any

import pytest
from packaging.requirements import Requirement

from bench.peers import IN_IMAGE
from tests.kubernetes.commands import ROOT, output, podman, run
from tests.kubernetes.kubelet import BANK, Node, until

pytestmark = pytest.mark.machine_clock  # podman and its registry have it

HARDENED = (
    *("--read-only", "--read-only-tmpfs=false", "--cap-drop=ALL"),
    *("--security-opt=no-new-privileges", "--ulimit=nofile=1024:1024", "--ulimit=nproc=4096:4096"),
)
ONCE = ("run", "--rm", "--network=none", "--no-healthcheck", *HARDENED)
LOGIN = {
    "CANDESCENT_BASE_URL": BANK,
    "CANDESCENT_CLIENT_ID": "sandbox-client",
    "CANDESCENT_CLIENT_SECRET": "sandbox-secret",
    "CANDESCENT_INSTITUTION_ID": "00016",
}


@pytest.fixture
def config(image: str) -> dict[str, Any]:
    """The image's configuration."""
    (inspected,) = json.loads(output(*podman(), "image", "inspect", image))
    # The health check's key differs between versions.
    return {"Healthcheck": inspected.get("Healthcheck"), **inspected["Config"]}


def python(image: str, program: str) -> str:
    """Run a Python program in the image."""
    return output(*podman(), *ONCE, "--entrypoint=/app/bin/python3", image, "-c", program)


def test_commands_need_no_shell(config: dict[str, Any]) -> None:
    """Entry point, command and health check are lists."""
    assert config["Entrypoint"] == ["candescent-proxy"]
    assert config["Cmd"] == ["run"]
    assert config["Healthcheck"]["Test"] == ["CMD", "candescent-proxy", "healthcheck"]


def test_user_is_a_number(config: dict[str, Any]) -> None:
    """Kubernetes can verify that it is not root."""
    assert re.fullmatch(r"[1-9]\d+:[1-9]\d+", config["User"])


def test_labels(config: dict[str, Any]) -> None:
    """Those of registries and scanners, as set by the build."""
    prefix = "org.opencontainers.image."
    labels = {
        name.removeprefix(prefix): text
        for name, text in config["Labels"].items()
        if name.startswith(prefix)
    }
    assert labels.keys() == {
        *("title", "description", "licenses", "version", "revision", "created")
    }
    assert (labels["title"], labels["version"]) == ("candescent-proxy", "test")


@pytest.mark.parametrize("command", ["/bin/sh", "/bin/bash", "/usr/bin/env", "/usr/bin/dpkg"])
def test_has_no_shell_and_no_package_manager(image: str, command: str) -> None:
    """No tools for an attacker."""
    done = run(*podman(), *ONCE, f"--entrypoint={command}", image)
    assert done.returncode == 127


def test_packages_are_exactly_the_locked_ones(image: str) -> None:
    """With their versions, and the program."""
    program = (
        "from importlib.metadata import distributions\n"
        "for each in distributions(): print(f'{each.name}=={each.version}')"
    )
    found = python(image, program).lower().replace("_", "-").split()
    lock = (ROOT / "requirements/run.txt").read_text(encoding="utf-8")
    lines = map(Requirement, re.findall(r"^([\w.-]+==.+?) \\$", lock, re.MULTILINE))
    version = python(image, "import platform; print(platform.python_version())").strip()
    there = {"python_version": version.rpartition(".")[0], "python_full_version": version}
    locked = {
        f"{line.name.lower()}{line.specifier}"
        for line in lines
        if line.marker is None or line.marker.evaluate(there)
    }
    assert {name for name in found if not name.startswith("candescent-proxy==")} == locked


def test_files_are_not_writable_by_its_user(image: str) -> None:
    """Even without a read-only root."""
    program = (
        "import os\n"
        "for top, below, files in os.walk('/'):\n"
        "    below[:] = {*below} - ({'proc', 'sys', 'dev', 'run'} if top == '/' else set())\n"
        "    print(*(p for f in (*files, *below) if os.access(p := os.path.join(top, f), os.W_OK)\n"
        "            and not os.path.islink(p)), sep='\\n', end='')\n"
    )
    writable = [ONCE[0], *(flag for flag in ONCE[1:] if not flag.startswith("--read-only"))]
    found = output(*podman(), *writable, "--entrypoint=/app/bin/python3", image, "-c", program)
    assert found.split() == []


def test_public_authorities_are_trusted(image: str) -> None:
    """Without a setting."""
    program = "import ssl; print(ssl.create_default_context().cert_store_stats()['x509_ca'])"
    assert int(python(image, program)) > 100


def test_request_path_is_compiled(image: str) -> None:
    """``--version`` says so."""
    program = "from proxy.cli.version import version_line; print(version_line())"
    assert "(compiled, CPython 3." in python(image, program)


def test_memory_variables_are_set(image: str) -> None:
    """Those of the benchmark."""
    program = "import os; print(*(f'{k}={v}' for k, v in os.environ.items() if 'MALLOC' in k))"
    wanted = {f"{name}={value}" for name, value in IN_IMAGE.items()}
    assert set(python(image, program).split()) == wanted


def test_other_modules_are_precompiled(image: str) -> None:
    """The start compiles nothing."""
    program = (
        "import proxy.runtime.app, sys\n"
        "print(*(n for n, m in sys.modules.items()\n"
        "        if (c := getattr(m, '__cached__', None)) and not __import__('os').path.exists(c)))"
    )
    assert python(image, program).split() == []


def test_package_database_has_its_files(image: str) -> None:
    """Scanners find the C libraries without dpkg."""
    program = "import os; print(*os.listdir('/var/lib/dpkg/status.d'))"
    assert {"libc6", "base-files"} <= set(python(image, program).split())


def test_hardened_container_is_healthy_and_ends(node: Node) -> None:
    """Read-only and without capabilities; SIGTERM ends it with 0."""
    node.start_bank()
    name = f"{node.name}-alone"
    variables = [f"--env={key}={value}" for key, value in LOGIN.items()]
    try:
        output(
            *podman(),
            *("run", "--detach", "--name", name, "--network", f"container:{node.name}"),
            *("--health-interval=disable", *HARDENED, *variables, node.image),
        )
        until(lambda: run(*podman(), "healthcheck", "run", name).returncode == 0)
        output(*podman(), "stop", "--time", "20", name)
        code = output(*podman(), "inspect", "--format", "{{.State.ExitCode}}", name).strip()
        assert code == "0", run(*podman(), "logs", name).stderr
    finally:
        run(*podman(), "rm", "--force", "--time", "0", "--ignore", name)


def test_healthcheck_fails_without_a_proxy(image: str) -> None:
    """Its exit code is 1."""
    assert run(*podman(), *ONCE, image, "healthcheck").returncode == 1


def test_missing_configuration_exits_with_2(image: str) -> None:
    """With a message."""
    done = run(*podman(), *ONCE, image)
    assert done.returncode == 2
    assert "CANDESCENT_INSTITUTION_ID" in done.stderr
