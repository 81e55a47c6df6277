"""What a figure was measured on."""

import platform
import re

from tools.machine import machine, processor, today


def test_sentence_names_what_a_reader_asks_for() -> None:
    """Processor, cores, kernel and Python, each as this machine has it."""
    assert re.fullmatch(
        rf"{re.escape(processor())}, \d+ cores seen, Linux \S+, "
        rf"Python {re.escape(platform.python_version())}",
        machine(),
    )


def test_day_is_written_as_everywhere() -> None:
    """ISO 8601."""
    assert re.fullmatch(r"20\d\d-\d\d-\d\d", today())
