"""Path patterns: what they match, what they cover, how they are written."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.forwarding.patterns import Pattern

NAMES = st.sampled_from(["a", "b", "c:d", "*"])
METHODS = st.frozensets(st.sampled_from(["GET", "POST", "PUT"]), max_size=2)
PATTERNS = st.builds(
    lambda names, end, methods: Pattern.parse("/" + "/".join([*names, *end]), methods),
    st.lists(NAMES, max_size=4),
    st.sampled_from([[], ["**"]]),
    METHODS,
)
PATHS = st.lists(st.sampled_from([b"a", b"b", b"c:d", b"x"]), max_size=5)


def matches(text: str, path: str, method: str = "GET") -> bool:
    """Whether a pattern means a request for ``path``."""
    return Pattern.parse(text).matches(method, [part.encode() for part in path.split("/") if part])


@pytest.mark.parametrize(
    ("text", "path", "expected"),
    [
        ("/v1/accounts", "/v1/accounts", True),
        ("/v1/accounts/", "/v1/accounts", True),
        ("/v1/accounts", "/v1/accounts/", True),
        ("/v1/accounts", "/v1/accounts/7", False),
        ("/v1/accounts", "/v1", False),
        ("/v1/accounts", "/V1/accounts", False),
        ("/v1/customers/*", "/v1/customers/7:accounts", True),
        ("/v1/*/x", "/v1/a/x", True),
        ("/v1/*/x", "/v1/x", False),
        ("/v1/**", "/v1", True),
        ("/v1/**", "/v1/a/b/c", True),
        ("/v1/**", "/v2/a", False),
        ("/**", "/", True),
        ("/**", "/a/b", True),
        ("/", "/", True),
        ("/", "/a", False),
    ],
)
def test_matching(text: str, path: str, expected: bool) -> None:
    """A star is one segment, two are all that follows; a slash at the end is nothing."""
    assert matches(text, path) is expected


def test_methods_narrow() -> None:
    """Without methods it means every method, with methods those only."""
    pattern = Pattern.parse("/a", frozenset({"GET", "HEAD"}))
    assert [pattern.matches(method, [b"a"]) for method in ("GET", "HEAD", "POST")] == [
        True,
        True,
        False,
    ]
    assert Pattern.parse("/a").matches("DELETE", [b"a"])


def test_any_case() -> None:
    """Where it is asked for, upper and lower case are the same; a star stays a star."""
    pattern = Pattern.parse("/v1/*/Transfers")
    assert pattern.matches("GET", [b"V1", b"X", b"transfers"], any_case=True)
    assert not pattern.matches("GET", [b"V1", b"X", b"transfers"])
    assert not pattern.matches("GET", [b"V1", b"X", b"transfer"], any_case=True)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("v1/accounts", "does not begin with a slash"),
        ("", "does not begin with a slash"),
        ("/v1/**/x", "'**' is not a segment"),
        ("/v1/acc*", "'acc*' is not a segment"),
        ("/v1/customers/*:accounts", "'*:accounts' is not a segment"),
        ("/v1/../x", "'..' is not a segment"),
        ("/./x", "'.' is not a segment"),
        ("/a b", "'a b' is not a segment"),
        ("/a?b", "'a?b' is not a segment"),
        ("/a%20b", "'a%20b' is not a segment"),
        ("/ä", "'ä' is not a segment"),
        ("/a;b", "'a;b' is not a segment"),
    ],
)
def test_mistakes(text: str, told: str) -> None:
    """What cannot be meant is refused, and the mistake quotes it."""
    with pytest.raises(ValueError, match=r"slash|segment") as error:
        Pattern.parse(text)
    assert told in str(error.value)
    assert repr(text) in str(error.value)


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ("/a/**", "/a/b", True),
        ("/a/**", "/a", True),
        ("/a/**", "/a/b/**", True),
        ("/a/*", "/a/b", True),
        ("/a/*", "/a/**", False),
        ("/a/b", "/a/*", False),
        ("/a/*", "/a/b/c", False),
        ("/a/b", "/a", False),
        ("/a", "/a", True),
    ],
)
def test_covering(first: str, second: str, expected: bool) -> None:
    """One covers another when it means all that the other means."""
    assert Pattern.parse(first).covers(Pattern.parse(second)) is expected


def test_covering_looks_at_methods() -> None:
    """A pattern for some methods covers none that is for more."""
    some, other = (Pattern.parse("/a", frozenset(methods)) for methods in (["GET"], ["POST"]))
    every = Pattern.parse("/a")
    assert every.covers(some)
    assert not some.covers(every)
    assert not some.covers(other)
    assert Pattern.parse("/a", frozenset({"GET", "POST"})).covers(some)


@given(PATTERNS, PATTERNS, st.sampled_from(["GET", "POST", "DELETE"]), PATHS)
def test_covering_is_about_matching(
    first: Pattern, second: Pattern, method: str, path: list[bytes]
) -> None:
    """What the second means, the first means too, wherever the first covers the second."""
    if first.covers(second) and second.matches(method, path):
        assert first.matches(method, path)


@given(PATTERNS)
def test_it_is_written_as_it_was_read(pattern: Pattern) -> None:
    """The text of a pattern, read again, is the pattern."""
    path, _, methods = str(pattern).partition(" ")
    named = frozenset() if "any" in methods else frozenset(methods.strip("()").split(","))
    assert Pattern.parse(path, named) == pattern
    assert pattern.covers(pattern)
