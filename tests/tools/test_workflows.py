"""GitHub workflows: valid, pinned, bounded, least rights."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support import needs
from tests.support.program import ROOT

WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
OWNERS = ("actions/", "pypa/", "sigstore/")
"""Whose actions are trusted with a token of this repository."""

Job = dict[str, Any]


def actionlint(folder: Path) -> subprocess.CompletedProcess[str]:
    """Run actionlint on the workflows of a folder, without optional tools."""
    program = needs.program("actionlint")
    files = sorted(map(str, (folder / ".github/workflows").glob("*.yml")))
    return subprocess.run(
        [program, "-no-color", "-shellcheck=", "-pyflakes=", *files],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


def jobs() -> Iterator[tuple[str, Job]]:
    """Yield each job with a name."""
    for path in WORKFLOWS:
        for name, job in yaml.safe_load(path.read_text(encoding="utf-8"))["jobs"].items():
            yield f"{path.stem}/{name}", job


def test_actionlint_finds_nothing() -> None:
    """In this repository."""
    done = actionlint(ROOT)
    assert (done.returncode, done.stdout) == (0, "")


def test_actionlint_finds_a_mistake(tmp_path: Path) -> None:
    """So the test above can fail."""
    shutil.copytree(ROOT / ".github", tmp_path / ".github")
    path = tmp_path / ".github/workflows/release.yml"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("needs.version.outputs.version", "needs.version.outputs.tag"))
    assert 'property "tag" is not defined' in actionlint(tmp_path).stdout


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_actions_are_pinned(path: Path) -> None:
    """By commit, with the release in a comment."""
    used = re.findall(r"uses: (.+)", path.read_text(encoding="utf-8"))
    foreign = [line for line in used if not line.startswith("./.github/workflows/")]
    pinned = re.compile(r"[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+")
    assert [line for line in foreign if not pinned.fullmatch(line)] == []
    assert [line for line in foreign if not line.startswith(OWNERS)] == []


def test_one_release_of_each_action() -> None:
    """In all workflows."""
    text = "".join(path.read_text(encoding="utf-8") for path in WORKFLOWS)
    pins = set(re.findall(r"uses: ([\w./-]+)@(\w+) # (\S+)", text))
    assert len(pins) == len({name for name, *_ in pins})


@pytest.mark.parametrize(
    ("name", "job"), [*jobs()], ids=lambda value: value if isinstance(value, str) else ""
)
def test_job_has_permissions_and_timeout(name: str, job: Job) -> None:
    """Only a publishing job may write; checkouts keep no token."""
    assert "permissions" in job
    writes = {key for key, value in job["permissions"].items() if value == "write"}
    publishes = {"image/build", "image/publish", "charts/publish", "release/image"}
    assert not writes or name in publishes | {"release/charts", "release/files", "release/pypi"}
    assert "uses" in job or 0 < job["timeout-minutes"] <= 90
    checkouts = [
        s for s in job.get("steps", ()) if s.get("uses", "").startswith("actions/checkout")
    ]
    assert all(step["with"] == {"persist-credentials": False} for step in checkouts)


def test_workflow_has_no_permissions() -> None:
    """Each job has its own."""
    for path in WORKFLOWS:
        assert yaml.safe_load(path.read_text(encoding="utf-8"))["permissions"] == {}


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_scripts_contain_no_expressions(path: Path) -> None:
    """They could inject code."""
    workflow = yaml.safe_load(path.read_text(encoding="utf-8"))
    steps = [step for job in workflow["jobs"].values() for step in job.get("steps", ())]
    scripts = [step["run"] for step in steps if "run" in step]
    assert [script for script in scripts if "${{" in script] == []


def test_named_files_exist() -> None:
    """Those of the repository."""
    text = "".join(path.read_text(encoding="utf-8") for path in WORKFLOWS)
    named = re.findall(r"(?<![\w/.])(?:tools|requirements|\.ci)/[\w./-]*\w", text)
    assert named
    assert [name for name in set(named) if not (ROOT / name).exists()] == []
