"""The build hook of pyproject.toml, which compiles the request path to C.

An installation from source is compiled if a C compiler works, and plain Python otherwise: the same
modules, the same behaviour, more CPU per request (docs/performance.md). The reason is printed (pip
shows it with ``-v``) and kept in the wheel's metadata, where ``candescent-proxy --version`` finds
it. ``PROXY_BUILD`` overrides this: ``pure`` compiles nothing, ``compiled`` fails instead.

mypyc compiles. It and the packages whose types it reads become build requirements, as
requirements/ pins them, only where compiling is tried. This file runs in the environment of the
build, which has hatchling and nothing else of ours.
"""

import importlib.util
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hatchling.builders.config import BuilderConfig
from hatchling.builders.hooks.plugin.interface import BuildHookInterface

MODE = "PROXY_BUILD"
LEVEL = "MYPYC_OPT_LEVEL"
"""How much the C compiler optimises, 0 to 3, as mypyc's own command reads it. Tests use 0."""

REASON_FILE = "not-compiled.txt"

MACHINES = {"x86_64", "amd64", "aarch64", "arm64"}
"""mypyc and its dependencies have wheels for these; elsewhere pip would compile them too."""

COMPILE_TIMEOUT = 1800
"""Seconds. Compiling takes one minute on one core of a server."""

# Not the project's own configuration: what is an error there need not be one here.
MYPY_INI = """\
[mypy]
plugins = pydantic.mypy
explicit_package_bases = True
"""
SETUP = """\
from mypyc.build import mypycify
from setuptools import setup

modules = mypycify({modules!r}, opt_level={level!r}, debug_level="0")
setup(name="compiled", py_modules=[], ext_modules=modules)
"""


class NotCompiledError(Exception):
    """The modules cannot be compiled, or need not be; the message says why, without a full stop."""


class BuildHook(BuildHookInterface[BuilderConfig]):
    """Compiles the modules that ``include`` lists, as paths below the project's root."""

    _work: TemporaryDirectory[str] | None = None

    def dependencies(self) -> list[str]:
        """Return the requirements of compiling; none where it will not be tried."""
        if build_mode() == "pure":
            return []
        try:
            self._compiler()
        except NotCompiledError:
            return []
        locks = Path(self.root, "requirements")
        present = {name for name, _ in read_pins(locks / "build.txt")}  # hatchling brought them
        pins = [*read_pins(locks / "compile.txt"), *read_pins(locks / "run.txt")]
        return list(dict.fromkeys(pin for name, pin in pins if name not in present))

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add the compiled modules to the wheel, or the reason why there are none."""
        if version == "editable" or build_mode() == "pure":
            return
        self._work = TemporaryDirectory(prefix="candescent-proxy-", ignore_cleanup_errors=True)
        work = Path(self._work.name)
        try:
            compiled = self._compile(work)
        except NotCompiledError as reason:
            if build_mode() == "compiled":
                raise
            self.app.display_warning(f"candescent-proxy is built as plain Python: {reason}.")
            (work / REASON_FILE).write_text(f"{reason}\n", encoding="utf-8")
            build_data["extra_metadata"][str(work / REASON_FILE)] = REASON_FILE
        else:
            build_data["pure_python"] = False
            build_data["infer_tag"] = True
            build_data["force_include"].update(compiled)

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Remove the compiler's files, which are in the wheel by now."""
        if self._work is not None:
            self._work.cleanup()

    def _compiler(self) -> str | None:
        """Return the C compiler to use; None for the one that setuptools finds on Windows."""
        check_interpreter(self.metadata.core.classifiers)
        if platform.system() != "Windows":
            return find_compiler()
        if build_mode() == "auto":
            raise NotCompiledError("on Windows only published wheels are compiled")
        return None

    def _compile(self, work: Path) -> dict[str, str]:
        """Compile a copy of the sources; return each library with its place in the wheel."""
        compiler = self._compiler()
        for module in ("mypyc", "setuptools", "pydantic"):
            if importlib.util.find_spec(module) is None:
                raise NotCompiledError(f"{module} is not installed (requirements/compile.txt)")
        tree = work / "tree"
        shutil.copytree(Path(self.root, "proxy"), tree / "proxy")
        (tree / "mypy.ini").write_text(MYPY_INI, encoding="utf-8")
        setup = SETUP.format(modules=self.config["include"], level=os.environ.get(LEVEL, "3"))
        (tree / "setup.py").write_text(setup, "utf-8")
        run_setup(tree, os.environ | ({"CC": compiler} if compiler else {}))
        built = [path for path in (work / "lib").rglob("*") if path.suffix in {".so", ".pyd"}]
        return {str(path): path.relative_to(work / "lib").as_posix() for path in built}


def build_mode() -> str:
    """Return what the person who builds has chosen."""
    mode = os.environ.get(MODE, "auto")
    if mode not in {"auto", "compiled", "pure"}:
        raise ValueError(f"{MODE} is auto, compiled or pure, not {mode!r}")
    return mode


def read_pins(lock: Path) -> Iterator[tuple[str, str]]:
    """Yield the name and the requirement, marker included, of each line of a lock file."""
    for line in lock.read_text(encoding="utf-8").splitlines():
        if found := re.match(r"([\w.-]+)(\[[^]]*])?==[^\\]+", line):
            yield found[1], found[0].strip()


def check_interpreter(classifiers: list[str]) -> None:
    """Raise NotCompiledError for an interpreter that the modules are not compiled for."""
    if platform.python_implementation() != "CPython" or sysconfig.get_config_var("Py_GIL_DISABLED"):
        raise NotCompiledError("only CPython with its global lock runs compiled modules")
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    if f"Programming Language :: Python :: {version}" not in classifiers:
        raise NotCompiledError(f"Python {version} is not among those that this release supports")
    if platform.machine().lower() not in MACHINES:
        raise NotCompiledError(f"there are no wheels of mypyc for {platform.machine()}")


def find_compiler() -> str:
    """Return a C compiler command that compiles a file which includes Python.h.

    The candidates are ``$CC`` alone, where it is set; else the compiler that built Python, then cc.
    """
    built_with = str(sysconfig.get_config_var("CC") or "cc")
    candidates = [os.environ["CC"]] if os.environ.get("CC") else [built_with, "cc"]
    present = [command for command in candidates if shutil.which(shlex.split(command)[0])]
    if not present:
        raise NotCompiledError(f"there is no C compiler ({candidates[0]})")
    if not Path(sysconfig.get_path("include"), "Python.h").is_file():
        raise NotCompiledError("Python's header files are missing (Debian: python3-dev)")
    errors = {command: probe(command) for command in present}
    for command, error in errors.items():
        if error is None:
            return command
    raise NotCompiledError(f"the C compiler does not work ({errors[present[0]]})")


def probe(command: str) -> str | None:
    """Return None if a compiler makes an object file of a module for this Python, else why not."""
    folders = {sysconfig.get_path("include"), sysconfig.get_path("platinclude")}
    with TemporaryDirectory() as folder:
        source = Path(folder, "probe.c")
        source.write_text("#include <Python.h>\n", encoding="utf-8")
        words = [*shlex.split(command), *(f"-I{path}" for path in folders), "-c", source.name]
        try:
            run(words, Path(folder), timeout=60)
        except NotCompiledError as error:
            return str(error)
        return None if source.with_suffix(".o").exists() else f"{command} writes no object file"


def run_setup(tree: Path, environ: dict[str, str]) -> None:
    """Run the setup file of a tree, which leaves the libraries in ``lib`` beside the tree."""
    folders = ["--build-lib", str(tree.parent / "lib"), "--build-temp", str(tree.parent / "tmp")]
    try:
        run(
            [sys.executable, "setup.py", "build_ext", *folders],
            tree,
            timeout=COMPILE_TIMEOUT,
            environ=environ,
        )
    except NotCompiledError as error:
        raise NotCompiledError(f"compiling failed: {error}") from error


def run(
    words: list[str], folder: Path, *, timeout: float, environ: dict[str, str] | None = None
) -> None:
    """Run a command; raise NotCompiledError with its first line that names an error."""
    program = Path(words[0]).name
    try:
        done = subprocess.run(
            words,
            cwd=folder,
            env=environ,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=timeout,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise NotCompiledError(f"{program} took more than {timeout:.0f} s") from error
    if done.returncode:
        print(done.stdout, file=sys.stderr)
        named = [line.strip() for line in done.stdout.splitlines() if "error" in line]
        raise NotCompiledError(named[0] if named else f"{program} exits {done.returncode}")
