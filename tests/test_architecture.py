"""Checks of the source beyond the import contracts."""

import ast
import re
from pathlib import Path

from tools.repository import ROOT

MODULES = sorted((ROOT / "proxy").rglob("*.py"))


def loose_tasks(path: Path) -> list[int]:
    """Return the lines that create a task by a loop variable, which ruff does not see."""
    return [
        node.lineno
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute)
        and node.attr == "create_task"
        and re.search(r"loop(\(\))?$", ast.unparse(node.value))
    ]


def test_loose_tasks_are_found(tmp_path: Path) -> None:
    """Of a stored and a running loop; task groups are permitted."""
    file = tmp_path / "some.py"
    file.write_text(
        "self.loop.create_task(work())\n"
        "asyncio.get_running_loop().create_task(work())\n"
        "group.create_task(work())\n"
    )
    assert loose_tasks(file) == [1, 2]


def test_tasks_are_created_in_one_place() -> None:
    """``proxy.tasks`` names, holds and ends them."""
    places = [path for path in MODULES if loose_tasks(path)]
    assert [str(path.relative_to(ROOT)) for path in places] in ([], ["proxy/tasks.py"])


def test_every_module_has_its_test_file() -> None:
    """a/b.py is tested in tests/a/test_b.py."""
    paths = [path.relative_to(ROOT / "proxy") for path in MODULES if path.stem[:2] != "__"]
    tests = [ROOT / "tests" / path.with_name(f"test_{path.name}") for path in paths]
    assert [str(test.relative_to(ROOT)) for test in tests if not test.exists()] == []


def conditions_on_records(path: Path) -> list[int]:
    """Return the lines of conditions that read a request's record."""
    conditions = [
        node.test
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.If | ast.IfExp | ast.While)
    ]
    return [
        condition.lineno
        for condition in conditions
        if re.search(r"\brecord\.", ast.unparse(condition))
    ]


def test_conditions_on_records_are_found(tmp_path: Path) -> None:
    """Of every kind; what is recorded is not a condition."""
    file = tmp_path / "some.py"
    file.write_text(
        "if self.record.status: pass\n"
        "while not record.replays: record.replays += 1\n"
        "status = 200 if record.status else 0\n"
        "record.status = status\n"
    )
    assert conditions_on_records(file) == [1, 2, 3]


def test_no_decision_reads_a_record() -> None:
    """A request's record is for observers; its state is in ``RequestContext``."""
    paths = (ROOT / "proxy" / "forwarding").glob("*.py")
    found = {path.name: lines for path in paths if (lines := conditions_on_records(path))}
    assert found == {}


def test_package_has_few_top_level_names() -> None:
    """The file list shows the architecture."""
    names = {path.name for path in (ROOT / "proxy").iterdir()} - {"__pycache__"}
    assert len(names) <= 15
