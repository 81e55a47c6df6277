"""JSON link rewriting: any JSON, in any pieces."""

import json
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.forwarding.json_links import (
    JsonLinkRewriter,
    drop_body_digests,
    is_rewritable,
    request_identity_encoding,
)
from proxy.forwarding.url_rewriting import UrlRewriter

BASES = ("https://b.test", "https://b.test/base", "http://b.test:81/a/a")
US = b"http://127.0.0.1:8080"


def rewriter(url: str, seen: bytes = US, *, based: bool = False) -> JsonLinkRewriter:
    """Return a rewriter for responses of a bank with this base URL."""
    return JsonLinkRewriter(UrlRewriter(urlsplit(url)), seen, has_base_path=based)


def rewritten(text: bytes, url: str, seen: bytes = US, *, based: bool = False) -> bytes:
    """Return a body that was rewritten in one piece."""
    whole = rewriter(url, seen, based=based)
    return whole.feed(text) + whole.finish()


@pytest.mark.parametrize(
    ("text", "rewritten_text"),
    [
        (b'{"href":"https://b.test/base/v1/x?a=1"}', b'{"href":"%b/v1/x?a=1"}'),
        (b'{"href":"https:\\/\\/b.test\\/base\\/v1\\/x"}', b'{"href":"%b\\/v1\\/x"}'),
        (b'["https://b.test:443/base/v1"]', b'["%b/v1"]'),
        (b'["https://b.test/base"]', b'["%b/base"]'),
        (b'["https://b.test/base?x","https://b.test/base/"]', b'["%b/base?x","%b/"]'),
        (b'["https://b.test/base/base/x"]', b'["%b/base/base/x"]'),
        (b'["https://b.test/base//x"]', b'["%b/base//x"]'),
    ],
)
def test_link_is_rewritten(text: bytes, rewritten_text: bytes) -> None:
    """A string that begins with the base URL is rewritten, slashes escaped or not."""
    assert rewritten(text, "https://b.test/base") == rewritten_text.replace(b"%b", US)
    assert rewritten(text, "https://b.test/base", b"") == rewritten_text.replace(b"%b", b"")


@pytest.mark.parametrize(
    "text",
    [
        *(b'["https://b.test/other"]', b'["https://b.test/basement"]', b'["https://b.test"]'),
        *(b'["https://b.test.evil/base/x"]', b'["https://b.test@evil/base"]'),
        *(b'["https://b.test:444/base/x"]', b'["http://b.test/base/x"]', b'["b.test/base/x"]'),
        b'["see https://b.test/base/x"]',
        b'["say \\"https://b.test/base/x\\""]',
        b'["\\\\\\"https://b.test/base/x"]',
        b'["https://b.test\\\\/base/x"]',
        b"https://b.test/base/x",
    ],
)
def test_other_strings_are_unchanged(text: bytes) -> None:
    """Other origins and paths, and URLs within a text, are not links."""
    assert rewritten(text, "https://b.test/base") == text


@pytest.mark.parametrize("based", [True, False])
def test_base_path_is_kept_for_callers_that_use_it(*, based: bool) -> None:
    """As in a Location field."""
    rewritten_text = rewritten(b'["https://b.test/base/v1"]', "https://b.test/base", based=based)
    assert rewritten_text == b'["%b%b/v1"]' % (US, b"/base" if based else b"")


def test_bare_origin_is_a_link() -> None:
    """It is rewritten unless nothing would be left."""
    text = b'["https://b.test","https://b.test?x","https://b.test/","https://b.test//evil"]'
    assert rewritten(text, "https://b.test") == (
        b'["%b","%b?x","%b/","https://b.test//evil"]'.replace(b"%b", US)
    )
    assert rewritten(text, "https://b.test", b"") == (
        b'["https://b.test","https://b.test?x","/","https://b.test//evil"]'
    )


PIECE = st.sampled_from(
    [
        *('"', "\\", "/", "\\/", "h", "https:", "http:", "//", "b.test", ":81", ":443", "/base"),
        *("/a", "/a/a", "?", "#", "x", '"https://b.test', '"https://b.test/base', "base", "\\\\"),
        *('"http://b.test:81/a/a', "\\/a\\/a", '"https:\\/\\/b.test\\/base'),
    ]
)
NOISE = st.lists(PIECE, max_size=14).map(lambda pieces: "".join(pieces).encode())


@given(NOISE, st.sampled_from(BASES), st.booleans(), st.sampled_from([US, b""]), st.data())
def test_result_does_not_depend_on_blocks(
    text: bytes, url: str, based: bool, seen: bytes, data: st.DataObject
) -> None:
    """Any bytes in any blocks give the same output, and little is buffered."""
    whole = rewritten(text, url, seen, based=based)
    for size in (1, data.draw(st.integers(1, len(text) + 1))):
        stream = rewriter(url, seen, based=based)
        got = b""
        for at in range(0, len(text), size):
            got += stream.feed(text[at : at + size])
            assert len(stream._pending) <= 2 * len(url) + 20
        assert got + stream.finish() == whole


def test_every_pair_of_cuts_gives_the_same_result() -> None:
    """Checked for one text with every construct."""
    text = b'[{"href":"https:\\/\\/b.test/base\\/x"},"\\\\","https://b.test/base/base","https://b'
    whole = rewritten(text, "https://b.test/base")
    assert whole.count(US) == 2
    for first in range(len(text)):
        for second in range(first, len(text)):
            stream = rewriter("https://b.test/base")
            parts = (text[:first], text[first:second], text[second:])
            assert b"".join(map(stream.feed, parts)) + stream.finish() == whole


LINK = st.builds(
    lambda start, end: start + end,
    st.sampled_from([*BASES, "https://other.test", "see https://b.test/base", '"https://b.test/a']),
    st.sampled_from(["", "/v1/x", "?a=1", "/base/x", "//x", "x", "/a/a/a", '"', "\\/"]),
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | LINK,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4)
    ),
    max_leaves=12,
)


def rewritten_text(value: Any, url: str) -> Any:
    """Return the expected JSON value, computed string by string."""
    if isinstance(value, dict):
        return {key: rewritten_text(inner, url) for key, inner in value.items()}
    if isinstance(value, list):
        return [rewritten_text(inner, url) for inner in value]
    names = UrlRewriter(urlsplit(url))
    if isinstance(value, str) and value.startswith(url):
        text = value.encode("utf-8", "surrogatepass")
        # A bare origin has no path to be rewritten to.
        bare = names.base == b"" and text[len(url) : len(url) + 1] in (b"", b"?", b"#")
        shown = names.rewrite_url(text, US, has_base_path=False)
        return (US + text[len(url) :] if bare else shown).decode("utf-8", "surrogatepass")
    return value


@given(value=JSON, url=st.sampled_from(BASES), slashed=st.booleans())
def test_rewritten_json_is_equal_but_for_links(value: Any, url: str, *, slashed: bool) -> None:
    """Each link is rewritten as in a Location field."""
    text = json.dumps(value)
    if slashed:
        text = text.replace("/", "\\/")
    got = rewritten(text.encode(), url)
    assert json.loads(got) == rewritten_text(json.loads(text), url)


# Which responses are rewritten.


def lines(*headers: str) -> list[bytes]:
    """Return headers as a flat list."""
    pairs = [header.encode().split(b": ", 1) for header in headers]
    return [part for name, value in pairs for part in (name, b": ", value, b"\r\n")]


@pytest.mark.parametrize(
    ("status", "headers", "readable"),
    [
        (200, ["Content-Type: application/json"], True),
        (
            200,
            ["content-type: Application/JSON; charset=utf-8", "Content-Encoding: identity"],
            True,
        ),
        (404, ["Content-Type: application/problem+json"], True),
        (200, ["Content-Type: application/vnd.bank.v1+json;x=y"], True),
        (206, ["Content-Type: application/json"], False),
        (200, ["Content-Type: application/json", "Content-Encoding: gzip"], False),
        (200, ["Content-Type: application/json-seq"], False),
        (200, ["Content-Type: application/jsonp"], False),
        (200, ["Content-Type: text/html"], False),
        (200, ["Content-Type: application/json", "Content-Type: text/html"], False),
        (200, [], False),
    ],
)
def test_which_responses_are_rewritten(status: int, headers: list[str], *, readable: bool) -> None:
    """Complete JSON responses without a content coding."""
    assert is_rewritable(status, lines(*headers)) is readable


def test_request_asks_for_plain_complete_bodies() -> None:
    """Accept-Encoding and Range are removed; other headers stay."""
    asked = lines("Accept: a/b", "accept-encoding: gzip", "Range: bytes=1-", "If-Range: x", "A: b")
    assert request_identity_encoding(asked) == lines(
        "Accept: a/b", "A: b", "Accept-Encoding: identity"
    )


def test_body_digests_are_dropped() -> None:
    """Digests describe the original body. The ETag stays, because it names the resource."""
    response = lines('ETag: "7"', "Digest: x", "Content-MD5: y", "accept-ranges: bytes", "A: b")
    assert drop_body_digests(response) == lines('ETag: "7"', "A: b")
