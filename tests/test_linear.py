"""No pattern and no loop over input from outside takes more than linear time.

Steps are counted, not seconds: patterns are analysed as they are parsed, and Python code is traced
while its input doubles.
"""

import ast
import importlib
import pkgutil
import re
import re._constants as ops  # type: ignore[import-not-found]
import re._parser as parser  # type: ignore[import-not-found]
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any
from urllib.parse import urlsplit

import pytest

import proxy
from proxy.errors import ProxyError
from proxy.forwarding import paths
from proxy.forwarding.access_policy import AccessPolicy
from proxy.forwarding.headers import CallerHeaders, ResponseHeaders
from proxy.forwarding.json_links import JsonLinkRewriter
from proxy.forwarding.patterns import Pattern
from proxy.forwarding.routing import Router
from proxy.forwarding.url_rewriting import UrlRewriter
from proxy.tokens.token_response import clean_message
from proxy.upstream.response_parser import ResponseParser

ROOT = Path(__file__).parents[1]
ALL = frozenset(range(256))
MANY = 64
"""A repeat with a larger bound than this counts as unbounded."""

# Patterns.

_CATEGORIES = {
    ops.CATEGORY_DIGIT: rb"\d",
    ops.CATEGORY_NOT_DIGIT: rb"\D",
    ops.CATEGORY_SPACE: rb"\s",
    ops.CATEGORY_NOT_SPACE: rb"\S",
    ops.CATEGORY_WORD: rb"\w",
    ops.CATEGORY_NOT_WORD: rb"\W",
}
_REPEATS = (ops.MAX_REPEAT, ops.MIN_REPEAT)
_ATOMIC = (ops.POSSESSIVE_REPEAT, ops.ATOMIC_GROUP)


def _chars(item: Any) -> frozenset[int]:  # noqa: PLR0911 - one for each kind of item
    """Return every byte that an item of a parsed pattern can match."""
    op, value = item
    if op is ops.LITERAL:
        return frozenset({value & 0xFF, ord(chr(value).swapcase()[0]) & 0xFF})
    if op is ops.NOT_LITERAL:
        return ALL - {value}
    if op is ops.ANY:
        return ALL
    if op is ops.RANGE:
        return frozenset(range(value[0], min(value[1], 255) + 1))
    if op is ops.CATEGORY:
        return frozenset(match[0][0] for match in re.finditer(_CATEGORIES[value], bytes(ALL)))
    if op is ops.IN:
        rest = [one for one in value if one[0] is not ops.NEGATE]
        found = frozenset[int]().union(*map(_chars, rest))
        return ALL - found if len(rest) < len(value) else found
    return frozenset[int]().union(*(_chars(one) for part in _parts(item) for one in part))


def _parts(item: Any) -> list[Any]:
    """Return the sequences within an item."""
    op, value = item
    if op in _REPEATS or op is ops.POSSESSIVE_REPEAT:
        return [value[2]]
    if op is ops.SUBPATTERN:
        return [value[3]]
    if op is ops.BRANCH:
        return list(value[1])
    return [value] if op is ops.ATOMIC_GROUP else []


def _is_nullable(item: Any) -> bool:
    op, value = item
    if op in _REPEATS or op is ops.POSSESSIVE_REPEAT:
        return value[0] == 0 or all(_is_nullable(one) for one in value[2])
    if op is ops.BRANCH:
        return any(all(map(_is_nullable, part)) for part in value[1])
    return op in (ops.AT, ops.ASSERT, ops.ASSERT_NOT)


def _is_long(item: Any) -> bool:
    return item[0] in _REPEATS and item[1][1] > MANY


def faults(pattern: "re.Pattern[Any]") -> list[str]:
    """Return why a pattern may take more than linear time on one start position."""
    return list(_faults(parser.parse(pattern.pattern, pattern.flags & ~re.DEBUG)))


def _faults(sequence: Any) -> Iterator[str]:
    items = list(sequence)
    for at, item in enumerate(items):
        inner = item[1][1:2] if item[0] in (ops.ASSERT, ops.ASSERT_NOT) else _parts(item)
        for part in inner:
            yield from _faults(part)
        for repeat in _last_repeats(item):
            followers, _ = _reached(items[at + 1 :], _chars(repeat))
            for follower in followers:
                if _is_long(follower) and (common := _chars(repeat) & _chars(follower)):
                    yield f"two adjacent repeats both match {chr(min(common))!r}"
        if _is_long(item) and _is_divisible(item[1][2]):
            yield "a repeat within a repeat"


def _last_repeats(item: Any) -> Iterator[Any]:
    """Yield the unbounded repeats with which an item may end."""
    if _is_long(item):
        yield item
    elif item[0] is not ops.POSSESSIVE_REPEAT and item[0] is not ops.ATOMIC_GROUP:
        for part in _parts(item):
            for last in reversed(list(part)):
                yield from _last_repeats(last)
                if not _is_nullable(last):
                    break


def _reached(items: list[Any], mine: frozenset[int]) -> tuple[list[Any], bool]:
    """Return the items that a repeat of ``mine`` may have to share characters with.

    And whether it may share them with what follows too: a character that it does not match ends it.
    """
    found = []
    for item in items:
        parts = [] if _is_simple(item) or item[0] in _ATOMIC else _parts(item)
        passes = not parts and bool(mine & _chars(item))
        found += [] if parts else [item]
        for part in parts:
            inner, inner_passes = _reached(list(part), mine)
            found += inner
            passes = passes or inner_passes
        if not passes and not _is_nullable(item):
            return found, False
    return found, True


def _is_simple(item: Any) -> bool:
    """Whether an item is a repeat of single characters."""
    return _is_long(item) and len(item[1][2]) == 1 and not _parts(item[1][2][0])


def _is_divisible(body: Any) -> bool:
    """Whether a repeated body holds a repeat and nothing that marks where one body ends."""
    items = list(body)
    while len(items) == 1 and items[0][0] is ops.SUBPATTERN:
        items = list(_parts(items[0])[0])
    for at, item in enumerate(items):
        rest = [*items[at + 1 :], *items[:at]]
        for repeat in _last_repeats(item):
            if _reached(rest, _chars(repeat))[1]:
                return True
    return False


def patterns() -> Iterator[tuple[str, "re.Pattern[Any]"]]:
    """Yield every pattern of the program with its place: constants, and literals in calls."""
    for module in pkgutil.walk_packages(proxy.__path__, "proxy."):
        if module.name.endswith("__main__"):
            continue
        loaded = importlib.import_module(module.name)
        for name, value in vars(loaded).items():
            if isinstance(value, re.Pattern):
                yield f"{module.name}.{name}", value
        file = getattr(loaded, "__file__", None)
        tree = ast.parse(Path(file).read_text(encoding="utf-8")) if file else ast.Module([], [])
        for node in ast.walk(tree):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and isinstance(node.func.value, ast.Name)
                and node.func.value.id == "re"
                and node.args
                and isinstance(node.args[0], ast.Constant)
                and node.func.attr != "escape"
            ):
                yield f"{module.name}:{node.lineno}", re.compile(node.args[0].value)


REWRITER = UrlRewriter(urlsplit("https://bank.test/base"))
BUILT = [
    ("not_in_query", paths.not_in_query("|")),
    ("url", REWRITER._url),
    ("links", JsonLinkRewriter(REWRITER, b"", has_base_path=False)._pattern),
    ("links with base", JsonLinkRewriter(REWRITER, b"", has_base_path=True)._pattern),
]


def test_no_pattern_divides_a_text_in_several_ways() -> None:
    """No adjacent or nested repeats that match the same characters; possessive ones do no harm."""
    found = {name: faults(pattern) for name, pattern in [*patterns(), *BUILT]}
    assert len(found) > 80
    assert {name: why for name, why in found.items() if why} == {}


@pytest.mark.parametrize(
    "bad",
    [
        r"(a+)+b",
        r"\s*\s*x",
        r"[0-9]+\.?[0-9]*x",
        r"(\s*[;,]?\s*url)",
        r".*a.*b",
        r"(?=.*x.*y)z",
        r"(?:a|b*)*c",
    ],
)
def test_bad_pattern_is_found(bad: str) -> None:
    """The analysis knows the usual mistakes."""
    assert faults(re.compile(bad))
    assert not faults(re.compile(r"\s*+[;,]?+\s*+[0-9]++(?:\.[0-9]*+)?<([^<>]*)>"))


# Python code.


def steps(work: Callable[[], object]) -> int:
    """Return how many lines of Python ``work`` executes."""
    count = 0

    def trace(_frame: FrameType, event: str, _argument: object) -> Any:
        nonlocal count
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        with suppress(ProxyError):
            work()
    finally:
        sys.settrace(before)
    return count


POLICY = AccessPolicy(allow=[Pattern.parse("/a/*/**")], deny=[Pattern.parse("/b/**")])
PIECES = [
    b"/%61",
    b"/%2e%2e",
    b"/..",
    b"/x",
    b"//",
    b"%252f",
    b"/fis/1",
    b"/%c1%a1",
    b"/;a=b",
    b"/%",
]


def _response(size: int, lines: bytes) -> None:
    response = ResponseParser()
    response.feed(b"HTTP/1.1 200 OK\r\n" + lines * size + b"\r\n")


def _in_bytes(data: bytes) -> None:
    response = ResponseParser()
    for at in range(len(data)):
        response.feed(data[at : at + 1])


def _route(path: bytes) -> None:
    for policy in (POLICY, None):
        with suppress(ProxyError):
            Router("/base", policy=policy)._decide_uncached("GET", path)


def repeated(
    work: Callable[[bytes], object], piece: bytes, before: bytes = b"", after: bytes = b""
) -> Callable[[int], object]:
    """Return ``work`` for a path in which a piece is repeated as often as is said."""
    return lambda size: work(before + piece * size + after)


WORK: dict[str, Callable[[int], object]] = {
    **{f"route {piece!r}": repeated(_route, piece) for piece in PIECES},
    **{f"reserved {one!r}": repeated(paths.is_reserved, one, before=b"/auth") for one in PIECES},
    **{f"climbs {one!r}": repeated(paths.climbs, one, after=b"/..") for one in PIECES},
    "caller headers": lambda size: CallerHeaders(
        [(b"Host", b"x"), *[(b"X-%d" % at, b"y") for at in range(size)]]
    ),
    "caller connection": lambda size: CallerHeaders(
        [(b"Host", b"x"), *[(b"Connection", b"c%d" % at) for at in range(size)]]
    ),
    "connection options": lambda size: CallerHeaders(
        [(b"Host", b"x"), (b"Connection", b",".join(b"c%d" % at for at in range(size)))]
    ),
    "response links": lambda size: ResponseHeaders([(b"Link", b"</a>")] * size),
    "response ids": lambda size: ResponseHeaders([(b"transactionId", b"a")] * size),
    "link header": lambda size: REWRITER.rewrite_header(
        b"Link", b"<https://bank.test/base/x>, " * size, b"", has_base_path=False
    ),
    "response head": lambda size: _response(size, b"X: y\r\n"),
    "response spaces": lambda size: _response(size, b"X : y\r\n"),
    "response in bytes": lambda size: _in_bytes(b"HTTP/1.1 200 OK\r\n" + b"X : y\r\n" * size),
    "message": lambda size: clean_message("a!" * size),
}


@pytest.mark.parametrize("work", WORK.values(), ids=WORK)
def test_steps_double_when_the_input_does(work: Callable[[int], object]) -> None:
    """Of the loops over paths, headers and heads."""
    # The first run fills the caches; in one of the others a full cache may be cleared.
    many, few = (min(steps(lambda: work(size)) for _ in range(3)) for size in (400, 200))  # noqa: B023
    assert many <= 2.2 * few + 50, (few, many)
