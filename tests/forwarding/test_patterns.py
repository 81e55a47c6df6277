"""Path patterns: matching, covering, parsing and printing."""

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
    """``*`` matches one segment and ``**`` the rest; a final slash is ignored."""
    assert matches(text, path) is expected


def test_methods_restrict_a_pattern() -> None:
    """A pattern without methods matches every method."""
    pattern = Pattern.parse("/a", frozenset({"GET", "HEAD"}))
    assert [pattern.matches(method, [b"a"]) for method in ("GET", "HEAD", "POST")] == [
        True,
        True,
        False,
    ]
    assert Pattern.parse("/a").matches("DELETE", [b"a"])


def test_matching_in_any_case() -> None:
    """Case is ignored where that is requested."""
    pattern = Pattern.parse("/v1/*/Transfers")
    assert pattern.matches("GET", [b"V1", b"X", b"transfers"], any_case=True)
    assert not pattern.matches("GET", [b"V1", b"X", b"transfers"])
    assert not pattern.matches("GET", [b"V1", b"X", b"transfer"], any_case=True)


@pytest.mark.parametrize(
    ("text", "quoted"),
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
def test_invalid_pattern_is_refused(text: str, quoted: str) -> None:
    """The error quotes the invalid part."""
    with pytest.raises(ValueError, match=r"slash|segment") as error:
        Pattern.parse(text)
    assert quoted in str(error.value)
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
    """A pattern covers another if it matches all that the other matches."""
    assert Pattern.parse(first).covers(Pattern.parse(second)) is expected


def test_covering_considers_methods() -> None:
    """A pattern for some methods does not cover one for more."""
    some, other = (Pattern.parse("/a", frozenset(methods)) for methods in (["GET"], ["POST"]))
    every = Pattern.parse("/a")
    assert every.covers(some)
    assert not some.covers(every)
    assert not some.covers(other)
    assert Pattern.parse("/a", frozenset({"GET", "POST"})).covers(some)


@given(PATTERNS, PATTERNS, st.sampled_from(["GET", "POST", "DELETE"]), PATHS)
def test_covering_agrees_with_matching(
    first: Pattern, second: Pattern, method: str, path: list[bytes]
) -> None:
    """What a covered pattern matches, the covering one matches."""
    if first.covers(second) and second.matches(method, path):
        assert first.matches(method, path)


@given(PATTERNS)
def test_text_of_a_pattern_can_be_parsed(pattern: Pattern) -> None:
    """Parsing the text of a pattern gives an equal pattern."""
    path, _, methods = str(pattern).partition(" ")
    named = frozenset() if "any" in methods else frozenset(methods.strip("()").split(","))
    assert Pattern.parse(path, named) == pattern
    assert pattern.covers(pattern)
