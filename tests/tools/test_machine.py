"""What a figure was measured on."""

import platform
import re

from tools.machine import machine, processor, today


def test_sentence_describes_the_machine() -> None:
    """Processor, cores, kernel and Python."""
    assert re.fullmatch(
        rf"{re.escape(processor())}, \d+ cores seen, Linux \S+, "
        rf"Python {re.escape(platform.python_version())}",
        machine(),
    )


def test_date_is_iso_8601() -> None:
    """In UTC."""
    assert re.fullmatch(r"20\d\d-\d\d-\d\d", today())
