"""Generated passages of pages."""

from pathlib import Path

import pytest

from tools.passage import Passage

HERE = Passage("figures", "written by `make figures`")
PAGE = "before\n<!-- figures: written by `make figures` -->\nold\n<!-- figures end -->\nafter\n"


def test_passage_is_replaced(tmp_path: Path) -> None:
    """The rest stays, and a second run changes nothing."""
    page = tmp_path / "page.md"
    page.write_text(PAGE, encoding="utf-8")
    HERE.write(page, "new\n")
    once = page.read_text(encoding="utf-8")
    assert once.startswith("before\n<!-- figures")
    assert once.endswith("<!-- figures end -->\nafter\n")
    assert HERE.read(once) == "\n\nnew\n\n"
    assert HERE.put(once, "new") == once


@pytest.mark.parametrize("page", ["", HERE.opening, HERE.closing, HERE.closing + HERE.opening])
def test_page_without_marks_is_refused(page: str) -> None:
    """With an error."""
    with pytest.raises(ValueError, match="no place between"):
        HERE.put(page, "new")
    with pytest.raises(ValueError, match="no place between"):
        HERE.read(page)
