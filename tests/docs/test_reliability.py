"""The tests that docs/reliability.md and docs/fleet.md name are there."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def named() -> set[str]:
    """The tests that the pages name."""
    pages = (ROOT / "docs" / name for name in ("reliability.md", "fleet.md"))
    text = "".join(page.read_text(encoding="utf-8") for page in pages)
    return set(re.findall(r"`(test_\w+)`", text))


def written() -> set[str]:
    """The tests that there are."""
    return {
        node.name
        for file in (ROOT / "tests").rglob("test_*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }


def test_every_test_that_is_named_is_there() -> None:
    """A promise without its test is none."""
    assert len(named()) > 80
    assert named() - written() == set()
