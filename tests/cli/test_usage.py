"""Words for wrong arguments; test_main has them as they are printed."""

import pytest

from proxy.cli.usage import closest, first_word_error


@pytest.mark.parametrize(
    ("word", "suggestion"),
    [
        ("docter", "; did you mean doctor?"),
        ("RUN", "; did you mean run?"),
        *[("fly", ""), ("", "")],
    ],
)
def test_only_close_words_are_suggested(word: str, suggestion: str) -> None:
    """Others would mislead."""
    assert closest(word, ["run", "doctor"]) == suggestion


@pytest.mark.parametrize("first", ["run", "--help", "-h", "--version"])
def test_right_first_words_have_no_error(first: str) -> None:
    """Commands, and the flags of the program itself."""
    assert first_word_error([first], ["run"]) is None
