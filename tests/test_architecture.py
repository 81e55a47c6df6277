"""The laws of the house, held against the house: see docs/architecture.md.

What breaks them is tried out on made-up trees in tests/tools/test_architecture.py.
"""

import pytest

from tools.architecture import DOCUMENT, PLACE, PURE, ROOT, Tree, broken_laws, drawn, untested


@pytest.fixture(scope="module")
def tree() -> Tree:
    """The proxy's own source."""
    return Tree(ROOT / "proxy")


def test_imports_keep_the_laws(tree: Tree) -> None:
    """Imports point one way, pure modules stay pure, everything is in its place."""
    assert list(broken_laws(tree)) == []


def test_there_is_something_to_hold_the_laws_against(tree: Tree) -> None:
    """A renamed pure module must not fall out of the laws unseen."""
    assert tree.modules.keys() >= PURE


def test_drawing_shows_the_imports(tree: Tree) -> None:
    """The graph in docs/architecture.md has the arrows that the source has (`make drawing`)."""
    assert drawn(DOCUMENT.read_text(encoding="utf-8")) == tree.arrows()


def test_drawing_keeps_what_follows_it() -> None:
    """The drawing is one part of a longer page."""
    assert DOCUMENT.read_text(encoding="utf-8").partition(PLACE.closing)[2].strip()


def test_every_module_has_a_test_file(tree: Tree) -> None:
    """Where a module is tested can be told from its name."""
    assert list(untested(tree, ROOT / "tests")) == []
