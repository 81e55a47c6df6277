"""Dependencies are explained, pinned and hashed."""

import re
import tomllib
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
LOCKS = sorted((ROOT / "requirements").glob("*.txt"))


@pytest.fixture(scope="module")
def pyproject() -> Mapping[str, Any]:
    """The parsed pyproject.toml."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def names(requirements: list[Any]) -> list[str]:
    """Return the names of requirements, without included groups."""
    return [re.split(r"[^\w.-]", entry)[0] for entry in requirements if isinstance(entry, str)]


def explained(section: str) -> list[str]:
    """Return the packages in a section of docs/dependencies.md."""
    page = (ROOT / "docs/dependencies.md").read_text(encoding="utf-8")
    text = re.split(r"\n##+ ", page.partition(f"## {section}\n")[2])[0]
    return re.findall(r"^\| `([^`]+)` \| \S.* \|$", text, re.MULTILINE)


def pins(lock: Path) -> dict[str, str]:
    """Return package to version of a lock file."""
    text = lock.read_text(encoding="utf-8")
    return dict(re.findall(r"^([\w.-]+)(?:\[[\w,-]+\])?==([\w.]+)", text, re.MULTILINE))


def test_every_run_dependency_has_its_reason(pyproject: Mapping[str, Any]) -> None:
    """The list is complete and in order."""
    assert explained("To run") == sorted(names(pyproject["project"]["dependencies"]), key=str.lower)


def test_every_optional_dependency_has_its_reason(pyproject: Mapping[str, Any]) -> None:
    """Each extra has a section."""
    for extra, wanted in pyproject["project"]["optional-dependencies"].items():
        listed = explained(f"With `candescent-proxy[{extra}]`")
        assert listed == sorted(names(wanted), key=str.lower)


def test_every_development_dependency_has_its_reason() -> None:
    """Those of contributors."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    section = text.partition("[dependency-groups]\n")[2].partition("\n[")[0]
    lines = [
        line for line in section.splitlines() if line.startswith('    "') and "pip==" not in line
    ]
    assert len(lines) >= 30
    assert [line for line in lines if not re.search(r'",  # \S', line)] == []


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.stem)
def test_lock_pins_and_hashes_everything(lock: Path) -> None:
    """Pip then accepts nothing else."""
    code = [line for line in lock.read_text(encoding="utf-8").splitlines() if "#" not in line]
    pinned = [line for line in code if re.match(r"[\w.-]+(\[[\w,-]+\])?==[\w.]+( ;.*)? \\$", line)]
    hashes = [line for line in code if re.match(r" {4}--hash=sha256:[0-9a-f]{64}( \\)?$", line)]
    assert pinned
    assert len(pinned) + len(hashes) == len(code)
    assert all(after in hashes for line, after in pairwise(code) if line in pinned)


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.stem)
def test_lock_has_its_command_and_nothing_local(lock: Path) -> None:
    """No host, option or path of a machine."""
    text = lock.read_text(encoding="utf-8")
    assert "\n#    make lock\n" in text
    assert not re.search(r"://|(?<!\S)/|^--", text, re.MULTILINE)


def test_locks_agree() -> None:
    """A package has one version in all locks."""
    versions: dict[str, dict[str, str]] = {}
    for lock in LOCKS:
        if lock.stem != "oldest-pip":
            for name, version in pins(lock).items():
                versions.setdefault(name, {})[lock.stem] = version
    assert {
        name: by_lock for name, by_lock in versions.items() if len(set(by_lock.values())) > 1
    } == {}


@pytest.mark.parametrize("lock", ["run", "otel", "build"])
def test_development_lock_has_the_others(lock: str) -> None:
    """Tests have all packages."""
    assert (
        pins(ROOT / "requirements/dev.txt").items()
        >= pins(ROOT / f"requirements/{lock}.txt").items()
    )


def test_every_requirement_is_pinned(pyproject: Mapping[str, Any]) -> None:
    """In the lock file of the same name."""
    wanted = {"run": pyproject["project"]["dependencies"], **pyproject["dependency-groups"]}
    wanted |= pyproject["project"]["optional-dependencies"]
    for lock, requirements in wanted.items():
        pinned = pins(ROOT / f"requirements/{lock}.txt").keys()
        assert pinned >= {canonicalize_name(name) for name in names(requirements)}, lock
