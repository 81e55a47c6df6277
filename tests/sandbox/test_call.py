"""Calls and replies as plain values."""

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.sandbox.call import Call, Reply, is_uuid, json_reply


def call(target: str = "/", base_path: str = "", **headers: str) -> Call:
    """Return a call with these headers."""
    raw = tuple((name.encode(), value.encode()) for name, value in headers.items())
    return Call("GET", target, raw, base_path)


def test_path_and_query_stay_raw() -> None:
    """Nothing is decoded."""
    seen = call("/base/a/%2e%2e//x?b=%zz;c=1?d", "/base")
    assert (seen.path, seen.query) == ("/a/%2e%2e//x", "b=%zz;c=1?d")


@pytest.mark.parametrize(
    ("target", "inside"),
    [("/base", True), ("/base/x", True), ("/base?x", True), ("/basement", False), ("/x", False)],
)
def test_base_path_ends_at_a_segment(target: str, inside: bool) -> None:
    """A slash, a question mark, or the end."""
    assert call(target, "/base").inside is inside


def test_first_query_parameter_counts() -> None:
    """Of several with one name."""
    assert call("/?a=1&a=2&b=").arguments == {"a": "1", "b": ""}


def test_headers_match_in_any_case() -> None:
    """All values, in order."""
    seen = Call("GET", "/", ((b"X-a", b"1"), (b"x-A", b"2")))
    assert seen.all("X-A") == ["1", "2"]
    assert (seen.header("x-a"), seen.header("y")) == ("1", None)


@pytest.mark.parametrize(
    ("value", "basic"),
    [
        ("Basic YTpi", ("a", "b")),
        ("basic YTpiOmM=", ("a", "b:c")),
        ("Basic YQ==", None),
        ("Basic !!!", None),
        ("Basic /w==", None),
        ("Bearer YTpi", None),
        ("", None),
    ],
)
def test_basic(value: str, basic: tuple[str, str] | None) -> None:
    """Basic credentials, or None."""
    assert call(Authorization=value).basic() == basic


@pytest.mark.parametrize(
    ("value", "bearer"), [("Bearer abc", "abc"), ("bearer abc", "abc"), ("Bearer ", None)]
)
def test_bearer(value: str, bearer: str | None) -> None:
    """A bearer token, or None."""
    assert call(Authorization=value).bearer() == bearer


@given(st.uuids())
def test_canonical_uuid(value: uuid.UUID) -> None:
    """In either case, without braces."""
    assert is_uuid(str(value))
    assert is_uuid(str(value).upper())
    assert not is_uuid(value.hex)
    assert not is_uuid("{" + str(value)[2:] + "}")


@pytest.mark.parametrize("value", [None, "", "x" * 36, "1" * 36])
def test_invalid_uuid(value: str | None) -> None:
    """Anything else."""
    assert not is_uuid(value)


def test_set_header_replaces_existing_ones() -> None:
    """It occurs once."""
    reply = Reply(headers=(("Content-Type", "a"), ("X", "1"))).with_headers(("content-type", "b"))
    assert reply.headers == (("X", "1"), ("content-type", "b"))


def test_json_reply_is_compact() -> None:
    """UTF-8 without spaces."""
    assert json_reply({"é": 1}).body == '{"é":1}'.encode()
