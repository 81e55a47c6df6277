"""Calls and replies as plain values."""

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.sandbox.call import Call, Reply, is_uuid, json_reply


def call(target: str = "/", base_path: str = "", **headers: str) -> Call:
    """A call with these headers."""
    raw = tuple((name.encode(), value.encode()) for name, value in headers.items())
    return Call("GET", target, raw, base_path)


def test_path_and_query_stay_raw() -> None:
    """Nothing is decoded, merged or sorted out."""
    seen = call("/base/a/%2e%2e//x?b=%zz;c=1?d", "/base")
    assert (seen.path, seen.query) == ("/a/%2e%2e//x", "b=%zz;c=1?d")


@pytest.mark.parametrize(
    ("target", "inside"),
    [("/base", True), ("/base/x", True), ("/base?x", True), ("/basement", False), ("/x", False)],
)
def test_inside_the_base_path(target: str, inside: bool) -> None:
    """The base path ends at a slash, a question mark, or the end."""
    assert call(target, "/base").inside is inside


def test_first_argument_counts() -> None:
    """Of two query parameters of one name the first is taken."""
    assert call("/?a=1&a=2&b=").arguments == {"a": "1", "b": ""}


def test_header_in_any_case() -> None:
    """Header names are read in any case, every value in order."""
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
    """Basic credentials are read, or are none."""
    assert call(Authorization=value).basic() == basic


@pytest.mark.parametrize(
    ("value", "bearer"), [("Bearer abc", "abc"), ("bearer abc", "abc"), ("Bearer ", None)]
)
def test_bearer(value: str, bearer: str | None) -> None:
    """A bearer is read, or is none."""
    assert call(Authorization=value).bearer() == bearer


@given(st.uuids())
def test_canonical_uuid(value: uuid.UUID) -> None:
    """The canonical form counts, in either case; braces and bare digits do not."""
    assert is_uuid(str(value))
    assert is_uuid(str(value).upper())
    assert not is_uuid(value.hex)
    assert not is_uuid("{" + str(value)[2:] + "}")


@pytest.mark.parametrize("value", [None, "", "x" * 36, "1" * 36])
def test_no_uuid(value: str | None) -> None:
    """Anything else is no UUID."""
    assert not is_uuid(value)


def test_headers_replace_their_namesakes() -> None:
    """A header set upon an answer is there once."""
    reply = Reply(headers=(("Content-Type", "a"), ("X", "1"))).with_headers(("content-type", "b"))
    assert reply.headers == (("X", "1"), ("content-type", "b"))


def test_json_reply_is_compact() -> None:
    """JSON comes in UTF-8 and without spaces."""
    assert json_reply({"é": 1}).body == '{"é":1}'.encode()
