"""tests/promises.md: every promise of docs/reliability.md and docs/fleet.md has its tests."""

import ast
import re

from tests.support.pages import ROOT

TABLE = (ROOT / "tests/promises.md").read_text(encoding="utf-8")
HELD = dict(re.findall(r"^\| (.+) \| ((?:`test_\w+`(?:, )?)+) \|$", TABLE, re.MULTILINE))


def written() -> set[str]:
    """Return the names of all tests."""
    return {
        node.name
        for file in (ROOT / "tests").rglob("test_*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }


def test_tests_of_promises_exist() -> None:
    """Renamed tests are renamed in promises.md."""
    named = set(re.findall(r"`(test_\w+)`", TABLE))
    assert len(named) > 80
    assert named - written() == set()


def test_promises_of_the_security_page_name_their_tests() -> None:
    """The page is for users too, so it names them itself, and it stays short."""
    page = (ROOT / "docs/security.md").read_text(encoding="utf-8")
    table = page.partition("| promise | tests |\n|---|---|\n")[2].partition("\n\n")[0].splitlines()
    assert len(table) >= 10
    for row in table:
        named = set(re.findall(r"`(test_\w+)`", row))
        assert named, row
        assert named <= written(), named - written()
    assert len(page.split()) <= 900


def test_every_promise_has_a_test() -> None:
    """The rows of both pages, verbatim."""
    pages = [(ROOT / "docs" / name).read_text("utf-8") for name in ("reliability.md", "fleet.md")]
    faults = re.findall(
        r"^\| ((?!fault|event|what|-|…).+?) \| .+ \|$",
        pages[0],
        re.MULTILINE,
    )
    promises = pages[1].partition("## What it promises\n\n")[2].partition("\n\n")[0].splitlines()
    said = [*faults, *(line[2].lower() + line[3:].removesuffix(".") for line in promises)]
    assert said == list(HELD)
