"""Every lock file installs with the oldest and the newest pip, on any later day.

pip resolves the lock files against an index in which each package has a newer release than the
pinned one. A package that is not pinned would get that release, which has no hash in the lock file.
The wheels are real; they are downloaded once into build/wheels.
"""

import fcntl
import hashlib
import json
import os
import re
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pip
import pytest
from packaging.utils import parse_wheel_filename

from tests.docs.test_dependencies import LOCKS, ROOT, pins
from tests.support import machine_clock

WHEELS = ROOT / "build/wheels"
PIPS = ("oldest-pip", "pip")
# No isolated build, whose dependencies would be neither pinned nor hashed.
WHEELS_ONLY = ("--require-hashes", "--only-binary", ":all:")


# Reads arguments of pip from each line, runs it with them, and writes its exit code and output. pip
# is imported once, which takes longer than most of the resolutions, and each runs in a fork.
RUN_PIP = """
import json, os, sys, tempfile
sys.path.insert(0, sys.argv[1])
from pip._internal.cli.main import main
from pip._internal.commands import create_command
create_command("install")
for line in sys.stdin:
    with tempfile.TemporaryFile() as output:
        if not (child := os.fork()):
            os.dup2(output.fileno(), 1)
            os.dup2(output.fileno(), 2)
            code = main(json.loads(line))
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        output.seek(0)
        print(json.dumps([code, output.read().decode()]), flush=True)
"""

Resolve = Callable[[str, Path], tuple[int, str]]


def download(*locks: Path) -> None:
    """Download the wheels of lock files and check their hashes."""
    requirements = [f"--requirement={lock}" for lock in locks]
    command = [sys.executable, "-m", "pip", "--no-input", "download", "--quiet", "--no-deps"]
    # The registry's certificates need the real time, even if the tests run with another clock.
    subprocess.run(
        [*command, *WHEELS_ONLY, f"--dest={WHEELS}", *requirements],
        env=machine_clock.environment(),
        check=True,
    )


@pytest.fixture(scope="module")
def wheels() -> Path:
    """The wheels of all lock files for this Python."""
    WHEELS.mkdir(parents=True, exist_ok=True)
    stamp = WHEELS / f"{sysconfig.get_python_version()}.done"
    content = hashlib.sha256(b"".join(lock.read_bytes() for lock in LOCKS)).hexdigest()
    with stamp.open("a+", encoding="ascii") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        if stamp.read_text(encoding="ascii") != content:
            oldest = ROOT / "requirements/oldest-pip.txt"
            download(oldest)
            download(*(lock for lock in LOCKS if lock != oldest))
            stamp.write_text(content, encoding="ascii")
    return WHEELS


@pytest.fixture(scope="module")
def index(wheels: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The URL of an index with the wheels, and a newer release of every package."""
    root = tmp_path_factory.mktemp("index")
    files: dict[str, list[str]] = {}
    for wheel in wheels.glob("*.whl"):
        name = str(parse_wheel_filename(wheel.name)[0])
        newer = f"{name.replace('-', '_')}-9999-py3-none-any.whl"
        files.setdefault(name, [newer]).append(wheel.as_uri())
    for name, urls in files.items():
        (root / name).mkdir()
        links = "".join(f'<a href="{url}">{url.rpartition("/")[2]}</a>' for url in urls)
        page = f"<!DOCTYPE html><html><body>{links}</body></html>"
        (root / name / "index.html").write_text(page, encoding="utf-8")
    return root.as_uri()


@pytest.fixture(scope="module")
def resolve(index: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Resolve]:
    """A function that resolves a lock file with a pip; it returns exit code and output."""
    # pip does not load the program, so its coverage is not measured.
    environment = {name: os.environ[name] for name in os.environ if "COVERAGE" not in name}
    quiet = ("--isolated", "--disable-pip-version-check", "--quiet")
    options = (*quiet, f"--index-url={index}", *WHEELS_ONLY)
    pips = tmp_path_factory.mktemp("pips")
    with ExitStack() as stack:
        running = {}
        for name in PIPS:
            lock = ROOT / f"requirements/{name}.txt"
            target = ("--no-compile", f"--target={pips / name}", f"--requirement={lock}")
            command = [sys.executable, "-m", "pip", "install", *options, *target]
            subprocess.run(command, env=environment, check=True)
            running[name] = stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", RUN_PIP, pips / name],
                    env=environment,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )

        def resolve(name: str, lock: Path) -> tuple[int, str]:
            pip = running[name]
            assert pip.stdin is not None
            assert pip.stdout is not None
            dry = ("--dry-run", "--ignore-installed", f"--requirement={lock}")
            print(json.dumps(["install", *options, *dry]), file=pip.stdin, flush=True)
            code, output = json.loads(pip.stdout.readline())
            return code, output

        yield resolve


@pytest.mark.parametrize("pip", PIPS)
@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.stem)
def test_every_lock_resolves(lock: Path, pip: str, resolve: Resolve) -> None:
    """To the pinned versions, with either pip."""
    code, output = resolve(pip, lock)
    assert code == 0, output


def test_environment_has_the_pinned_pip() -> None:
    """Make has installed it first."""
    assert pip.__version__ == pins(ROOT / "requirements/pip.txt")["pip"]


def test_lock_without_its_extras_does_not_resolve(resolve: Resolve, tmp_path: Path) -> None:
    """An old pip ignores the pin of coverage for coverage[toml]."""
    lock = tmp_path / "dev.txt"
    text = (ROOT / "requirements/dev.txt").read_text(encoding="utf-8")
    lock.write_text(text.replace("coverage[toml]==", "coverage=="), encoding="utf-8")
    assert lock.read_text(encoding="utf-8") != text
    refused = "coverage[toml]" in resolve("oldest-pip", lock)[1]
    # The pip of Python 3.13 and later ones apply it.
    assert refused == (sys.version_info < (3, 13))


@pytest.mark.parametrize("pip", PIPS)
def test_lock_without_a_dependency_does_not_resolve(
    pip: str, resolve: Resolve, tmp_path: Path
) -> None:
    """Dependencies must be pinned."""
    lock = tmp_path / "run.txt"
    text = (ROOT / "requirements/run.txt").read_text(encoding="utf-8")
    entry = re.compile(r"^idna==.*?(?=^\w)", re.MULTILINE | re.DOTALL)
    lock.write_text(entry.sub("", text), encoding="utf-8")
    code, output = resolve(pip, lock)
    assert code
    assert "idna" in output
