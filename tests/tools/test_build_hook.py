"""Builds of wheels: compiled where a C compiler works, else plain Python with the reason.

The builds are real. Compiling the program takes a minute (``make compiled`` does it, and
``make release-check``), so this compiles a package of one module, with the same hook and locks.
"""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from proxy.cli.version import COMPILED_MODULE
from tests.support.program import ROOT

HOOK = ("tool", "hatch", "build", "targets", "wheel", "hooks", "custom")
MODULE = "proxy/forwarding/forwarder.py"

PYPROJECT = f"""\
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "candescent-proxy"
version = "1"
requires-python = ">=3.11"
classifiers = ["Programming Language :: Python :: {{version}}"]

[tool.hatch.build]
dev-mode-dirs = ["."]

[tool.hatch.build.targets.wheel]
packages = ["proxy"]

[tool.hatch.build.targets.wheel.hooks.custom]
path = "tools/build_hook.py"
include = ["{MODULE}"]
"""
SOURCE = "def half(number: int) -> int:\n    return number // 2\n"
Machine = Callable[[Path], dict[str, str]]
VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with one module to compile, and this project's hook and locks."""
    root = tmp_path / "project"
    for folder in ("requirements", "proxy/cli"):
        shutil.copytree(ROOT / folder, root / folder, ignore=shutil.ignore_patterns("*.pyc"))
    (root / "tools").mkdir()
    shutil.copy(ROOT / "tools/build_hook.py", root / "tools")
    shutil.copy(ROOT / "proxy/__init__.py", root / "proxy")
    (root / MODULE).parent.mkdir()
    (root / MODULE).write_text(SOURCE, encoding="utf-8")
    (root / "pyproject.toml").write_text(PYPROJECT.format(version=VERSION), encoding="utf-8")
    return root


def build(project: Path, **environ: str) -> tuple[int, str]:
    """Build a wheel into ``dist`` with hatchling; return the exit code and what it printed."""
    ended = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--target", "wheel"],
        cwd=project,
        env={**os.environ, "PROXY_BUILD": "auto", **environ},
        capture_output=True,
        text=True,
        check=False,
    )
    return ended.returncode, ended.stdout + ended.stderr


def installed_version(project: Path) -> str:
    """Return what ``--version`` prints once the wheel is unpacked, as an installer does it."""
    (wheel,) = (project / "dist").glob("*.whl")
    site = project / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    program = "from proxy.cli.version import version_line; print(version_line())"
    printed = subprocess.check_output(
        [sys.executable, "-c", program], cwd=site, env={**os.environ, "PYTHONPATH": str(site)}
    )
    return printed.decode()


def requirements(project: Path, **environ: str) -> list[str]:
    """Return what an installer puts into the environment of the build, besides hatchling."""
    program = (
        "import hatchling.build as it, json; print(json.dumps(it.get_requires_for_build_wheel()))"
    )
    printed = subprocess.check_output(
        [sys.executable, "-c", program],
        cwd=project,
        env={**os.environ, "PROXY_BUILD": "auto", **environ},
    )
    found = json.loads(printed)
    assert isinstance(found, list)
    return found


def test_list_of_compiled_modules_names_files() -> None:
    """A module that has moved is noticed, also by ``--version``."""
    table = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    for key in HOOK:
        table = table[key]
    modules = table["include"]
    assert modules == sorted(set(modules))
    assert [name for name in modules if not (ROOT / name).is_file()] == []
    assert COMPILED_MODULE.replace(".", "/") + ".py" in modules


def test_compiles_if_possible(project: Path) -> None:
    """The wheel is for this platform, and the sources are unchanged."""
    before = sorted(project.rglob("*"))
    assert build(project)[0] == 0
    (wheel,) = (project / "dist").glob("*.whl")
    assert not wheel.name.endswith("-none-any.whl")
    made = [path for path in project.rglob("*") if "__pycache__" not in path.parts]
    assert {path for path in made if path not in before} == {wheel.parent, wheel}
    assert "(compiled, " in installed_version(project)


def test_compiler_error_leaves_plain_python(project: Path) -> None:
    """The wheel gives the reason; an explicit request fails."""
    (project / MODULE).write_text(SOURCE.replace("int:", "str:"), encoding="utf-8")
    code, printed = build(project)
    assert code == 0
    assert "built as plain Python: compiling failed" in printed
    assert 'Incompatible return value type (got "int", expected "str")' in installed_version(
        project
    )
    assert build(project, PROXY_BUILD="compiled")[0] != 0


def no_compiler(_: Path) -> dict[str, str]:
    """No program on PATH."""
    return {"PATH": "/nonexistent", "CC": ""}


def broken_compiler(_: Path) -> dict[str, str]:
    """A compiler that fails."""
    return {"CC": "false"}


def no_headers(folder: Path) -> dict[str, str]:
    """An interpreter without Python.h."""
    fixture = folder / "home"
    fixture.mkdir()
    for name in ("lib", "lib64"):
        if Path(sys.base_prefix, name).exists():
            (fixture / name).symlink_to(Path(sys.base_prefix, name))
    return {"PYTHONHOME": str(fixture), "PYTHONPATH": sysconfig.get_path("purelib")}


REASONS: dict[Machine, str] = {
    no_compiler: "there is no C compiler (",
    broken_compiler: "the C compiler does not work (false exits 1)",
    no_headers: "Python's header files are missing (Debian: python3-dev)",
}


@pytest.mark.parametrize("machine", REASONS, ids=lambda machine: machine.__name__)
def test_plain_python_otherwise(machine: Machine, project: Path, tmp_path: Path) -> None:
    """The wheel fits every Python and gives the reason; nothing is downloaded."""
    environ = machine(tmp_path)
    assert requirements(project, **environ) == []
    code, printed = build(project, **environ)
    assert code == 0
    assert f"candescent-proxy is built as plain Python: {REASONS[machine]}" in printed
    (wheel,) = (project / "dist").glob("*.whl")
    assert wheel.name.endswith("-py3-none-any.whl")
    assert f"(plain Python: {REASONS[machine]}" in installed_version(project)


def test_plain_python_on_demand(project: Path) -> None:
    """The wheel for all platforms has no reason yet."""
    assert requirements(project, PROXY_BUILD="pure") == []
    assert build(project, PROXY_BUILD="pure")[0] == 0
    assert "(plain Python, " in installed_version(project)


def test_unsupported_python_compiles_nothing(project: Path) -> None:
    """A later Python can install the release."""
    (project / "pyproject.toml").write_text(PYPROJECT.format(version="3.10"), encoding="utf-8")
    assert requirements(project) == []
    assert f"Python {VERSION} is not among those" in build(project)[1]


def test_unknown_value_is_an_error(project: Path) -> None:
    """As a misspelt one."""
    code, printed = build(project, PROXY_BUILD="yes")
    assert code != 0
    assert "PROXY_BUILD is auto, compiled or pure, not 'yes'" in printed


def test_requirements_are_the_pinned_ones(project: Path) -> None:
    """Mypyc and types as tested."""
    found = requirements(project)
    lock = "".join((ROOT / f"requirements/{n}.txt").read_text("utf-8") for n in ("compile", "run"))
    assert all(f"{requirement} \\\n" in lock for requirement in found)
    names = {requirement.partition("==")[0] for requirement in found}
    assert names >= {"mypy", "setuptools", "types-pyyaml", "aiohttp", "pydantic"}
    assert not names & {"hatchling", "packaging"}


def test_editable_install_compiles_nothing(project: Path) -> None:
    """It uses the sources."""
    program = "import hatchling.build as it; print(it.build_editable('dist'))"
    (project / "dist").mkdir()
    printed = subprocess.check_output([sys.executable, "-c", program], cwd=project, text=True)
    assert printed.rstrip().endswith("-py3-none-any.whl")
