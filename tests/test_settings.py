"""Declared settings: units, texts and metadata for pydantic."""

from dataclasses import dataclass
from typing import Annotated

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from proxy.settings import (
    Bytes,
    Seconds,
    check_base_url,
    comma_separated,
    format_duration,
    format_size,
    matching,
    parse_duration,
    parse_size,
    setting,
)
from tests.config.test_loader import load, named


@dataclass(frozen=True)
class Example:
    """A settings class as components declare it."""

    wait: Seconds = setting(5.0, "Time to wait.")
    size: Bytes = setting(100, "Size to read.")
    name: Annotated[str, matching("[a-z]+", "letters, such as moss")] = setting("moss", "A name.")


ADAPTER = TypeAdapter(Example)


def test_dataclass_is_validated() -> None:
    """By bounds, units and texts; defaults are on the class."""
    assert ADAPTER.validate_python({"wait": "2m", "size": "1KiB"}) == Example(120, 1024)
    assert (Example.wait, Example().size) == (5, 100)
    for wrong in ({"wait": "0"}, {"size": "2MiB"}, {"name": "Moss"}, {"wait": "nan"}):
        with pytest.raises(ValidationError):
            ADAPTER.validate_python(wrong)


def test_schema_has_the_metadata() -> None:
    """Description, default, unit and text forms."""
    properties = ADAPTER.json_schema()["properties"]
    assert properties["wait"]["description"] == "Time to wait."
    assert properties["wait"]["type"] == ["number", "string"]
    assert (properties["wait"]["x-unit"], properties["size"]["x-unit"]) == ("seconds", "bytes")
    assert properties["name"]["pattern"] == "^[a-z]+$"


@given(st.integers(0, 400_000))
def test_durations_can_be_read_as_written(milliseconds: int) -> None:
    """In any unit."""
    seconds = milliseconds / 1000
    parsed = parse_duration(format_duration(seconds))
    assert isinstance(parsed, float | int)
    assert parsed == pytest.approx(seconds)


@given(st.integers(0, 2**31))
def test_sizes_can_be_read_as_written(size: int) -> None:
    """In any unit."""
    parsed = parse_size(format_size(size))
    assert int(str(parsed)) == size


@pytest.mark.parametrize(
    "wrong", ["soon", "5x", "s", "5  s", "1m  30s", "1 m30", "5S", "-5s", "5s-", [5], {}, True]
)
def test_invalid_duration_is_refused(wrong: object) -> None:
    """An unknown unit, or another type."""
    with pytest.raises(ValueError, match="such as 5s"):
        parse_duration(wrong)


@pytest.mark.parametrize("wrong", ["big", "5TB", "5k", "MB", "-5MB", "5 5MB", ["5MB"], {}, True])
def test_invalid_size_is_refused(wrong: object) -> None:
    """An unknown unit, or another type."""
    with pytest.raises(ValueError, match="such as 64KiB"):
        parse_size(wrong)


def test_lists_may_be_text() -> None:
    """Separated by commas; empty parts are dropped."""
    assert comma_separated(" a ,, b,") == ["a", "b"]
    assert comma_separated(["a,b"]) == ["a,b"]


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        *[("5", 5), ("5s", 5), ("500ms", 0.5), ("2m", 120), ("1m30s", 90), ("1.5h", 5400)],
        *[(" 5 ", 5), ("5 s", 5), (" 1 m 30 s ", 90)],
    ],
)
def test_durations_with_and_without_a_unit(written: str, seconds: float) -> None:
    """A plain number is seconds."""
    assert load(named(UPSTREAM__MAX_AGE=written)).upstream.max_age == seconds


@pytest.mark.parametrize(
    ("written", "size"),
    [("1000", 1000), ("64KiB", 65_536), ("50MB", 50_000_000), ("1 gib", 1024**3), ("0", 0)],
)
def test_sizes_with_and_without_a_unit(written: str, size: int) -> None:
    """A plain number is bytes."""
    assert load(named(LIMITS__MAX_BODY=written)).limits.max_body == size


def test_text_must_match_its_pattern() -> None:
    """The error says what is expected."""
    check = matching("[0-9]+", "digits, such as 42")
    assert check.function("42") == "42"
    with pytest.raises(ValueError, match="expected digits, such as 42"):
        check.function("x")


@pytest.mark.parametrize("url", ["https://api.example.com/base/", "http://localhost:8081"])
def test_base_urls_are_normalized(url: str) -> None:
    """A final slash is removed."""
    assert check_base_url(url) == url.rstrip("/")


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://api.example.com/a b", "ASCII without spaces"),
        ("https://bücher.example", "xn--"),
        ("ftp://api.example.com", "expected http://HOST"),
        ("https://", "expected http://HOST"),
        ("https://user@api.example.com", "no user"),
        ("https://api.example.com/?a=1", "no user, query"),
        ("https://api.example.com/%2e", "only letters"),
        ("https://api.example.com:99999", "[Pp]ort"),
        ("https://api.example.com:0", "port 0"),
        ("https://api.example.com/a/../b", "no . or .."),
    ],
)
def test_invalid_base_url_is_refused(url: str, expected: str) -> None:
    """The error says what is expected."""
    with pytest.raises(ValueError, match=expected):
        check_base_url(url)


@pytest.mark.parametrize(
    ("written", "form"),
    [
        ("https://API.example.com:443/a/", "https://api.example.com/a"),
        ("http://127.0.0.1:80", "http://127.0.0.1"),
        ("http://127.0.0.1:443/", "http://127.0.0.1:443"),
    ],
)
def test_equal_base_urls_have_one_form(written: str, form: str) -> None:
    """So that they are one origin."""
    assert check_base_url(written) == form


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0"), (8190, "8190"), (1024, "1KiB"), (65_536, "64KiB"), (3 * 1024**2, "3MiB")],
)
def test_sizes_are_written_in_the_largest_whole_unit(size: int, text: str) -> None:
    """As in the reference."""
    assert format_size(size) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0s"), (0.5, "500ms"), (5, "5s"), (90, "90s"), (120, "2m")]
)
def test_durations_are_written_in_the_largest_whole_unit(seconds: float, text: str) -> None:
    """As in the reference."""
    assert format_duration(seconds) == text
