"""What the contracts on imports in pyproject.toml cannot ask of the source."""

import ast
import re
from pathlib import Path

from tools.repository import ROOT

MODULES = sorted((ROOT / "proxy").rglob("*.py"))


def loose_tasks(path: Path) -> list[int]:
    """Return the lines on which a loop held in a variable makes a task, which ruff cannot see."""
    return [
        node.lineno
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute)
        and node.attr == "create_task"
        and re.search(r"loop(\(\))?$", ast.unparse(node.value))
    ]


def test_loose_tasks_are_found(tmp_path: Path) -> None:
    """A task of a held loop, and one of the running loop; a task group holds its own."""
    file = tmp_path / "some.py"
    file.write_text(
        "self.loop.create_task(work())\n"
        "asyncio.get_running_loop().create_task(work())\n"
        "group.create_task(work())\n"
    )
    assert loose_tasks(file) == [1, 2]


def test_tasks_are_made_in_one_place() -> None:
    """``proxy.tasks`` names tasks, holds them and ends them."""
    places = [path for path in MODULES if loose_tasks(path)]
    assert [str(path.relative_to(ROOT)) for path in places] in ([], ["proxy/tasks.py"])


def test_every_module_has_its_test_file() -> None:
    """The tests follow the layout of the program: a/b.py is tested in tests/a/test_b.py."""
    paths = [path.relative_to(ROOT / "proxy") for path in MODULES if path.stem[:2] != "__"]
    tests = [ROOT / "tests" / path.with_name(f"test_{path.name}") for path in paths]
    assert [str(test.relative_to(ROOT)) for test in tests if not test.exists()] == []


def test_top_of_the_package_is_a_short_list() -> None:
    """The architecture shows in the file list, so the list must stay readable."""
    names = {path.name for path in (ROOT / "proxy").iterdir()} - {"__pycache__"}
    assert len(names) <= 15
