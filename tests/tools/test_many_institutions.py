"""The measurement of many institutions in the documentation."""

import re

from tools.many_institutions import DOCUMENT, PLACE, names, table


def test_page_has_the_measurement() -> None:
    """Of a thousand institutions, with its machine."""
    measured = PLACE.read(DOCUMENT.read_text(encoding="utf-8"))
    assert measured.strip().startswith("1,000 institutions in use, on ")
    lines = [line for line in measured.splitlines() if line.startswith("| ")]
    expected = [line for line in table(1000, []).splitlines() if line.startswith("| ")]
    assert lines[: len(expected)] == expected
    assert len(lines) == 7


def test_names_are_institutions() -> None:
    """Unique five-digit numbers."""
    found = names(1000)
    assert len(set(found)) == 1000
    assert all(re.fullmatch(r"[0-9]{5}", name) for name in found)
