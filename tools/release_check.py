"""Check what a release needs and one machine can do: ``python -m tools.release_check [--only …]``.

Builds the distributions, checks their metadata, and installs them as a user would, into a clean
environment of every Python that ``tools/pythons`` finds: the plain wheel, and the source, which
must compile. Builds the image, packages the charts, checks workflows, SBOM and versions. What a
check prints is in build/release/NAME.log. A table ends the run; exit code 1 unless all passed.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.support import needs
from tools import release_version
from tools.repository import ROOT

WORK, DIST = ROOT / "build/release", ROOT / "dist"
# Without a health check, which podman leaves to systemd, and with limits that need no rights.
RUN_ONCE = (
    *("run", "--rm", "--network=none", "--no-healthcheck"),
    *("--ulimit=nofile=1024:1024", "--ulimit=nproc=4096:4096"),
)
TIMEOUT = 3600
"""Seconds for one command. The longest compiles for a minute, on an idle core."""


class CheckError(Exception):
    """A check that failed, or could not be run; the message is for the table."""


@dataclass(frozen=True, slots=True)
class ReleaseCheck:
    """One row of the table. ``run`` returns what the row says, or raises CheckError."""

    name: str
    run: Callable[["Log"], str]


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a check."""

    name: str
    passed: bool
    seconds: float
    remark: str


class Log:
    """Runs the commands of one check, and keeps what they print."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.write_text("", encoding="utf-8")

    def run(self, *command: object, cwd: Path = ROOT, **environ: str) -> str:
        """Run a command and return its output; raise CheckError if it fails or takes too long."""
        words = [str(word) for word in command]
        try:
            done = subprocess.run(
                words,
                cwd=cwd,
                env=_clean_environment() | environ,
                text=True,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=TIMEOUT,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise CheckError(f"{Path(words[0]).name} took more than {TIMEOUT} s") from error
        with self.path.open("a", encoding="utf-8") as file:
            print("$", *words, f"\n{done.stdout}", file=file)
        if done.returncode:
            raise CheckError(f"{Path(words[0]).name} failed: {self.path.relative_to(ROOT)}")
        return done.stdout


def main(argv: Sequence[str] | None = None) -> int:
    """Run the checks, print the table and return the exit code."""
    parser = argparse.ArgumentParser(description="check what a release needs")
    parser.add_argument(
        "--only", nargs="+", default=[], help="names of checks, or their beginnings"
    )
    parser.add_argument("--tag", help="the tag that the release will have, such as v0.1.0")
    arguments = parser.parse_args(argv)
    WORK.mkdir(parents=True, exist_ok=True)
    first, independent, of_pythons = checks(arguments.tag)
    wanted = tuple(arguments.only)
    results = [run(check) for check in first]  # the others need what these build
    if all(result.passed for result in results):
        rest = [c for c in (*of_pythons, *independent) if not wanted or c.name.startswith(wanted)]
        with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
            results += pool.map(run, rest)
    print(table(results))
    return 0 if all(result.passed for result in results) else 1


def checks(tag: str | None) -> tuple[list[ReleaseCheck], list[ReleaseCheck], list[ReleaseCheck]]:
    """Return the checks that come first, those that stand alone, and those of each Python."""
    first = [
        ReleaseCheck("version", partial(check_version, tag)),
        ReleaseCheck("distributions", check_build),
    ]
    alone = [
        ReleaseCheck("metadata", check_metadata),
        ReleaseCheck("sbom", check_sbom),
        ReleaseCheck("workflows", check_workflows),
        ReleaseCheck("charts", check_charts),
        ReleaseCheck("image", check_image),
    ]
    pythons = subprocess.check_output([ROOT / "tools/pythons"], text=True).splitlines()
    found = [tuple(line.split(" ", 1)) for line in pythons]
    return first, alone, list(_of_pythons(found))


def _of_pythons(found: Sequence[tuple[str, ...]]) -> Iterator[ReleaseCheck]:
    for version, python in found:
        yield ReleaseCheck(f"{version}-source", partial(check_source, version, python))
        yield ReleaseCheck(f"{version}-wheel", partial(check_wheel, version, python))


def run(check: ReleaseCheck) -> Result:
    """Run one check, and print the result at once."""
    began = time.monotonic()
    try:
        passed, remark = True, check.run(Log(WORK / f"{check.name}.log"))
    except CheckError as error:
        passed, remark = False, str(error)
    result = Result(check.name, passed, time.monotonic() - began, remark)
    print(_row(result), flush=True)
    return result


def table(results: Sequence[Result]) -> str:
    """Return the table that ends the run."""
    failed = sum(not result.passed for result in results)
    end = f"{failed} of {len(results)} checks failed" if failed else f"all {len(results)} passed"
    return "\n".join(["", "Release check", *map(_row, results), end])


def _row(result: Result) -> str:
    state = "ok" if result.passed else "FAILED"
    return f"  {result.name:16} {state:7} {result.seconds:5.0f} s  {result.remark}"


def _clean_environment() -> dict[str, str]:
    """This process's environment, without what would reach the programs that a check starts."""
    # Make hands its own arguments, ARGS among them, to every make below it.
    ours = {"PYTHONPATH", "PROXY_BUILD", "MAKEFLAGS", "MAKEOVERRIDES", "MFLAGS", "ARGS"}
    return {name: value for name, value in os.environ.items() if name not in ours}


def check_version(tag: str | None, _: Log) -> str:
    """The version is the same everywhere; with a tag, the changelog has a section for it."""
    errors = list(release_version.check(ROOT))
    if tag:
        errors += release_version.check_tag(ROOT, tag)
    if errors:
        raise CheckError("; ".join(errors))
    version = release_version.find(ROOT, *release_version.PLACES[0])
    dated = release_version.section(ROOT, version)[0]
    return version if dated else f"{version}; CHANGELOG.md has no dated section for it yet"


def check_build(log: Log) -> str:
    """The plain wheel, the source distribution and the SBOM are built into dist/."""
    shutil.rmtree(DIST, ignore_errors=True)
    log.run("make", "build")
    return ", ".join(sorted(path.name for path in DIST.glob("candescent*")))


def check_metadata(log: Log) -> str:
    """The metadata of the distributions is valid, and so is what says which wheels to compile."""
    python = _environment(log, "tools", sys.executable)
    for lock in ("pip", "release"):  # the first so that the second is read as it was written
        file = f"requirements/{lock}.txt"
        log.run(python, "-m", "pip", "install", "-q", "--require-hashes", "-r", file)
    log.run(python, "-m", "twine", "check", "--strict", *_distributions())
    cibuildwheel = (python, "-m", "cibuildwheel", "--platform", "linux")
    wheels = log.run(*cibuildwheel, "--print-build-identifiers").split()
    return f"twine has no complaint; cibuildwheel would compile {len(wheels)} wheels here"


def check_source(version: str, python: str, log: Log) -> str:
    """``pip install`` of the source compiles, with the pip that this Python brings."""
    environment = _environment(log, f"{version}-source", python)
    (source,) = DIST.glob("*.tar.gz")
    log.run(environment, "-m", "pip", "install", "-q", source, PROXY_BUILD="compiled")
    return _at_work(log, environment, "compiled")


def check_wheel(version: str, python: str, log: Log) -> str:
    """``pip install`` of the plain wheel works, with the pip that this Python brings."""
    environment = _environment(log, f"{version}-wheel", python)
    (wheel,) = DIST.glob("*-none-any.whl")
    log.run(environment, "-m", "pip", "install", "-q", wheel)
    return _at_work(log, environment, "plain Python")


def check_sbom(_: Log) -> str:
    """The SBOM lists each locked package."""
    parts = json.loads((DIST / "candescent-proxy.cdx.json").read_text("utf-8"))["components"]
    lock = (ROOT / "requirements/run.txt").read_text(encoding="utf-8")
    locked = {line.partition("==")[0] for line in lock.splitlines() if "==" in line}
    missing = locked - {part["name"] for part in parts}
    if missing:
        raise CheckError(f"not listed: {', '.join(sorted(missing))}")
    return f"{len(parts)} packages, CycloneDX"


def check_workflows(log: Log) -> str:
    """Actionlint finds nothing wrong with .github/workflows."""
    log.run(_tool("actionlint"), "-shellcheck=", "-pyflakes=")
    return "actionlint"


def check_charts(log: Log) -> str:
    """Both charts pass helm's lint and are packaged."""
    shutil.rmtree(WORK / "charts", ignore_errors=True)
    for chart in sorted((ROOT / "helm").glob("*/Chart.yaml")):
        log.run(_tool("helm"), "lint", chart.parent)
        log.run(_tool("helm"), "package", chart.parent, "--destination", WORK / "charts")
    return ", ".join(sorted(path.name for path in (WORK / "charts").iterdir()))


def check_image(log: Log) -> str:
    """The image is built, and its proxy is compiled and works."""
    version = release_version.find(ROOT, *release_version.PLACES[0])
    log.run("make", "image")
    once = (*_engine(), *RUN_ONCE, f"candescent-proxy:{version}")
    printed = log.run(*once, "--version").strip()
    if "(compiled, " not in printed:
        raise CheckError(f"not compiled: {printed}")
    log.run(*once, "demo", "--once")
    return printed


def _engine() -> tuple[str, ...]:
    """Return the command of the container engine that tools/image has built with."""
    docker = needs.find("docker")
    if (
        docker
        and subprocess.run([docker, "info"], capture_output=True, check=False).returncode == 0
    ):
        return (docker,)
    # crun, podman's default, refuses machines with both kinds of control groups.
    return (_tool("podman"), *(("--runtime", "runc") if needs.find("runc") else ()))


def _tool(name: str) -> str:
    path = needs.find(name)
    if path is None:
        raise CheckError(f"{name} is not installed")
    return path


def _distributions() -> list[Path]:
    return sorted([*DIST.glob("*.whl"), *DIST.glob("*.tar.gz")])


def _environment(log: Log, name: str, python: str) -> Path:
    """Make a clean environment with the pip that the Python brings; return its interpreter."""
    folder = WORK / f"venv-{name}"
    log.run(python, "-m", "venv", "--clear", folder)
    return folder / "bin/python"


def _at_work(log: Log, python: Path, build: str) -> str:
    """Run the installed program away from the sources; return its version line."""
    command = python.with_name("candescent-proxy")
    printed = log.run(command, "--version", cwd=WORK).strip()
    if f"({build}" not in printed:
        raise CheckError(f"expected {build}: {printed}")
    log.run(command, "demo", "--once", cwd=WORK)
    return printed


if __name__ == "__main__":
    sys.exit(main())
