"""The checker of the pure modules' coverage."""

import json
from pathlib import Path

import pytest

from tools import pure_coverage
from tools.pure_coverage import holes, own_tests, pure_files, pure_modules
from tools.repository import ROOT

PURE = ["proxy.forwarding.headers", "proxy.tokens.token"]
CONTRACT = """
[[tool.importlinter.contracts]]
id = "pure"
source_modules = ["proxy.forwarding.headers"]
"""
FULL: dict[str, object] = {"missing_lines": [], "missing_branches": []}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A project with two pure modules and another one."""
    for name in ("forwarding/headers.py", "runtime/app.py", "tokens/token.py"):
        path = tmp_path / "proxy" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x = 1\n", encoding="utf-8")
    return tmp_path


def files(**headers: object) -> dict[str, object]:
    """The files of a report, with these findings about the headers module."""
    poor = {"missing_lines": [1], "missing_branches": [[1, 2]]}
    return {
        "proxy/runtime/app.py": poor,
        "proxy/forwarding/headers.py": FULL | headers,
        "proxy/tokens/token.py": FULL,
    }


def test_complete_coverage_is_accepted(root: Path) -> None:
    """Other modules do not matter."""
    assert list(holes(files(), root, PURE)) == []


def test_missing_line_and_branch_are_named(root: Path) -> None:
    """A branch of a missing line is not named twice."""
    report = files(missing_lines=[3, 4, 7], missing_branches=[[7, 8], [9, 12], [11, -1]])
    (complaint,) = holes(report, root, PURE)
    path, _, missing = complaint.partition(": ")
    assert path == "proxy/forwarding/headers.py"
    assert (
        missing == "lines 3-4, line 7, line 9 never goes to line 12, line 11 never goes to the end"
    )


def test_unmeasured_module_is_named(root: Path) -> None:
    """One that no test imports."""
    report = files()
    del report["proxy/tokens/token.py"]
    assert list(holes(report, root, PURE)) == ["proxy/tokens/token.py: no test imports it"]


def test_unmeasured_branches_are_named(root: Path) -> None:
    """Of a report without branches."""
    report = files() | {"proxy/forwarding/headers.py": {"missing_lines": []}}
    assert list(holes(report, root, PURE)) == [
        "proxy/forwarding/headers.py: its branches were not measured"
    ]


def test_pragma_is_refused(root: Path) -> None:
    """Coverage must be complete."""
    (root / "proxy/forwarding/headers.py").write_text(
        "x = 1  # pragma: no cover\n", encoding="utf-8"
    )
    (complaint,) = holes(files(), root, PURE)
    assert "pragma" in complaint


def test_pure_modules_are_those_of_the_contract() -> None:
    """The import contract is the only list."""
    pure = pure_modules((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert {"proxy.forwarding.headers", "proxy.tokens.token"} <= {*pure}
    assert "proxy.runtime.app" not in pure


def test_command_fails_on_missing_coverage(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the place; otherwise it is silent."""
    report = root / "coverage.json"
    monkeypatch.setattr(pure_coverage, "ROOT", root)
    report.write_text(json.dumps({"files": files()}), encoding="utf-8")
    (root / "pyproject.toml").write_text(CONTRACT, encoding="utf-8")
    assert pure_coverage.main([str(report)]) == 0
    assert capsys.readouterr().out == ""
    report.write_text(json.dumps({"files": files(missing_lines=[3])}), encoding="utf-8")
    assert pure_coverage.main([str(report)]) == 1
    assert "proxy/forwarding/headers.py: line 3" in capsys.readouterr().out


def test_command_names_the_tests(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a report it prints the test files."""
    monkeypatch.setattr(pure_coverage, "ROOT", root)
    (root / "pyproject.toml").write_text(CONTRACT, encoding="utf-8")
    assert pure_coverage.main([]) == 0
    assert capsys.readouterr().out == "tests/forwarding/test_headers.py\n"
    (root / "proxy/tokens/__init__.py").touch()
    assert pure_files(root, ["proxy.tokens"]) == [
        "proxy/tokens/__init__.py",
        "proxy/tokens/token.py",
    ]


def test_pure_modules_have_tests() -> None:
    """Each named file exists."""
    pure = pure_modules((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert all((ROOT / test).exists() for test in own_tests(pure_files(ROOT, pure)))
