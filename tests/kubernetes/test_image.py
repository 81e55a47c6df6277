"""The image: what is in it, what is not, and how it runs by itself."""

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
    """What the image says about itself."""
    (inspected,) = json.loads(output(*podman(), "image", "inspect", image))
    # Where the health check stands differs from version to version.
    return {"Healthcheck": inspected.get("Healthcheck"), **inspected["Config"]}


def python(image: str, program: str) -> str:
    """Run a Python program in the image."""
    return output(*podman(), *ONCE, "--entrypoint=/app/bin/python3", image, "-c", program)


def test_starts_the_program_without_a_shell(config: dict[str, Any]) -> None:
    """Entry point, command and health check are lists of words, not lines for a shell."""
    assert config["Entrypoint"] == ["candescent-proxy"]
    assert config["Cmd"] == ["run"]
    assert config["Healthcheck"]["Test"] == ["CMD", "candescent-proxy", "healthcheck"]


def test_user_is_a_number(config: dict[str, Any]) -> None:
    """Kubernetes can only see of a number that it is not root."""
    assert re.fullmatch(r"[1-9]\d+:[1-9]\d+", config["User"])


def test_labels(config: dict[str, Any]) -> None:
    """The labels that registries and scanners read are there, and say what the build was told."""
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
    """What would help a stranger is not there."""
    done = run(*podman(), *ONCE, f"--entrypoint={command}", image)
    assert done.returncode == 127


def test_holds_exactly_what_is_locked(image: str) -> None:
    """Every package of the lock file at its version, the program, and nothing else."""
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


def test_nothing_in_it_can_be_changed_by_its_user(image: str) -> None:
    """Not even without a read-only root could the program be replaced from within."""
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


def test_trusts_the_authorities_of_its_base(image: str) -> None:
    """TLS to the bank works without a setting: the public authorities are there and are found."""
    program = "import ssl; print(ssl.create_default_context().cert_store_stats()['x509_ca'])"
    assert int(python(image, program)) > 100


def test_request_path_is_compiled(image: str) -> None:
    """The image is compiled, and says so."""
    program = "from proxy.cli.version import version_line; print(version_line())"
    assert "(compiled, CPython 3." in python(image, program)


def test_memory_for_bodies_is_kept(image: str) -> None:
    """The image has the variables that the bench measures it with."""
    program = "import os; print(*(f'{k}={v}' for k, v in os.environ.items() if 'MALLOC' in k))"
    wanted = {f"{name}={value}" for name, value in IN_IMAGE.items()}
    assert set(python(image, program).split()) == wanted


def test_other_modules_are_byte_code(image: str) -> None:
    """A start compiles nothing, as it could not keep what it compiled."""
    program = (
        "import proxy.runtime.app, sys\n"
        "print(*(n for n, m in sys.modules.items()\n"
        "        if (c := getattr(m, '__cached__', None)) and not __import__('os').path.exists(c)))"
    )
    assert python(image, program).split() == []


def test_says_which_packages_its_files_are_of(image: str) -> None:
    """Scanners find the C libraries in the place where they look in images without dpkg."""
    program = "import os; print(*os.listdir('/var/lib/dpkg/status.d'))"
    assert {"libc6", "base-files"} <= set(python(image, program).split())


def test_runs_hardened_is_healthy_and_ends_well(node: Node) -> None:
    """Read-only and without capabilities it becomes healthy, and SIGTERM ends it with code 0."""
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


def test_healthcheck_fails_where_nothing_runs(image: str) -> None:
    """The health check's exit code, not only its words, says that it is not well."""
    assert run(*podman(), *ONCE, image, "healthcheck").returncode == 1


def test_wrong_configuration_is_told(image: str) -> None:
    """Started without settings it says what is missing, and ends with code 2."""
    done = run(*podman(), *ONCE, image)
    assert done.returncode == 2
    assert "CANDESCENT_INSTITUTION_ID" in done.stderr
