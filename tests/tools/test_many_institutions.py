"""What the measurement of many institutions has written into its page."""

import re

from tools.many_institutions import DOCUMENT, PLACE, names, table


def test_page_has_what_was_measured() -> None:
    """docs/performance.md shows a measurement of a thousand, and what it ran on."""
    measured = PLACE.read(DOCUMENT.read_text(encoding="utf-8"))
    assert measured.strip().startswith("1,000 institutions in use, on ")
    lines = [line for line in measured.splitlines() if line.startswith("| ")]
    expected = [line for line in table(1000, []).splitlines() if line.startswith("| ")]
    assert lines[: len(expected)] == expected
    assert len(lines) == 7


def test_names_are_institutions() -> None:
    """Each is a number of five digits, and none comes twice."""
    found = names(1000)
    assert len(set(found)) == 1000
    assert all(re.fullmatch(r"[0-9]{5}", name) for name in found)
