"""Links and names in the documentation."""

import re
from pathlib import Path

import pytest

from tests.support.pages import PAGES, ROOT, anchors


def ids(path: Path) -> str:
    """Return the page's path, as a test id."""
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_links_are_valid(page: Path) -> None:
    """Every linked file exists."""
    links = re.findall(r"\]\((?!\w+:|#)([^)#]+)", page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_anchors_are_valid(page: Path) -> None:
    """Every linked heading exists."""
    links = re.findall(r"\]\((?!\w+:)([^)#]*\.md)?#([^)]+)\)", page.read_text(encoding="utf-8"))
    lost = [
        (other, anchor)
        for other, anchor in links
        if anchor not in anchors(page.parent / other if other else page)
    ]
    assert lost == []


NAMED = re.compile(
    r"(?:^|[ `(])((?:proxy|tests|tools|docs|deploy|helm|bench|requirements)/[\w./-]*\w)",
    re.MULTILINE,
)
NOT_OURS = re.compile(r"deploy/secrets|(proxy|tests)/a/")
"""Files that the reader makes, and the names in CONTRIBUTING that stand for any other."""


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_named_files_exist(page: Path) -> None:
    """Every path of the repository."""
    named = NAMED.findall(page.read_text(encoding="utf-8"))
    ours = [name for name in named if not NOT_OURS.match(name)]
    assert [name for name in ours if not (ROOT / name).exists()] == []


def test_index_has_every_page() -> None:
    """docs/README.md."""
    index = (ROOT / "docs/README.md").read_text(encoding="utf-8")
    pages = [page.name for page in (ROOT / "docs").glob("*.md") if page.name != "README.md"]
    assert [name for name in pages if f"]({name})" not in index] == []


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_make_targets_exist(page: Path) -> None:
    """Every `make` command of a page."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    commands = re.findall(r"(?:`| {4})make ([a-z-]+)", page.read_text(encoding="utf-8"))
    assert set(commands) <= targets
