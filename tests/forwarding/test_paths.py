"""What a path may turn into behind us: the reserved endpoints in all their spellings."""

from collections.abc import Callable
from urllib.parse import quote_from_bytes

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from proxy.forwarding.paths import is_ambiguous, is_reserved, readings, segments, split_target

ENDPOINTS = [
    b"/oauth2/v1/token",
    b"/oauth2/v1/revoke",
    b"/oauth2",
    b"/v1/oauth/token",
    b"/v1/auth-code",
    b"/v1/client-authorization",
]


@pytest.mark.parametrize("path", ENDPOINTS)
@pytest.mark.parametrize(
    "spell",
    [
        lambda path: path,
        lambda path: path.upper(),
        lambda path: path.title(),
        lambda path: b"/" + path,
        lambda path: path.replace(b"/", b"//"),
        lambda path: path.replace(b"/", b"/./"),
        lambda path: path.replace(b"/", b"\\"),
        lambda path: b"/x/.." + path,
        lambda path: b"/x/%2e%2e" + path,
        lambda path: b"/x/..;a=b" + path,
        lambda path: b"/digitalbanking/stage" + path,
        lambda path: path.replace(b"/", b"/x/../"),
        lambda path: path.replace(b"/", b";v=1/") + b";v=1",
        lambda path: path + b"/",
        lambda path: path + b"%20",
        lambda path: path + b"%00.html",
        lambda path: path + b"%3fa=b",
        lambda path: path + b"#frag",
        lambda path: path.replace(b"/", b"%2f"),
        lambda path: path.replace(b"/", b"%5c"),
        lambda path: path.replace(b"auth", b"%61uth"),
        lambda path: path.replace(b"auth", b"%41%55th"),
        lambda path: path.replace(b"auth", b"%2561uth"),
        lambda path: path.replace(b"auth", b"%252561uth"),
        lambda path: path.replace(b"/", b"%252f"),
        lambda path: path.replace(b"auth", b"%c1%a1uth"),
        lambda path: path.replace(b"auth", b"%E0%81%A1uth"),
        lambda path: path.replace(b"auth", b"\xf0\x80\x81\xa1uth"),
        lambda path: path.replace(b"/", b"%c0%af"),
        lambda path: path.replace(b"/", b"/a/%c0%ae%c0%ae/"),
    ],
)
def test_reserved_in_every_spelling(path: bytes, spell: Callable[[bytes], bytes]) -> None:
    """Token, revocation and authorization endpoints are seen through every disguise."""
    assert is_reserved(spell(path))


@pytest.mark.parametrize(
    "path",
    [
        b"/oauth2/../v1/accounts",
        b"/v1/oauth/%2e%2e/accounts",
        b"/v1/oauth/%252e%252e/token",
        b"/v1/x/../oauth/token",
    ],
)
def test_reserved_whether_or_not_dots_are_folded(path: bytes) -> None:
    """A server that leaves dot segments where they are sees the endpoint's prefix."""
    assert is_reserved(path)


@pytest.mark.parametrize(
    "path",
    [
        b"/v1/accounts",
        b"/",
        b"",
        b"/v2/oauth/token",
        b"/v1/authors",
        b"/v1/oauth-apps",
        b"/xoauth2/v1/token",
        b"/v1/customers/7:accounts",
        b"/v1/a%20b",
        b"/v1/100%25",
        b"/v1/%",
        b"/v1/\xc3\xa9",
        b"/registration/v4/fis/00016/fiCustomers",
        b"/oauth/token",
    ],
)
def test_others_are_not_reserved(path: bytes) -> None:
    """A path that only looks a little like them is the caller's to use."""
    assert not is_reserved(path)


@given(st.sampled_from(ENDPOINTS), st.data())
def test_reserved_with_any_bytes_encoded(path: bytes, data: st.DataObject) -> None:
    """However many of its bytes are percent-encoded, once or twice, it is reserved."""

    def spelt(byte: int) -> bytes:
        plain = bytes([byte])
        ways = [plain, plain.upper(), b"%%%02x" % byte, b"%%25%02X" % byte]
        return data.draw(st.sampled_from(ways if plain != b"/" else [*ways, b"//", b"\\"]))

    assert is_reserved(b"/" + b"".join(map(spelt, path[1:])))


@given(st.binary(max_size=40))
@example(b"%" + b"25" * 30 + b"61")
def test_readings_end_and_are_clean(path: bytes) -> None:
    """Any bytes have a bounded number of readings, none with an empty segment or a slash."""
    found = list(readings(path))
    assert 2 <= len(found) <= 16
    for parts in found:
        assert not any(part in (b"", b".") or b"/" in part or b"\\" in part for part in parts)
    assert is_reserved(path) in (True, False)


@pytest.mark.parametrize(
    "path",
    [
        b"/a/../x",
        b"/a/%2e%2e%2fx",
        b"/a/%2E%2E/x",
        b"/a/./x",
        b"/a//x",
        b"//x",
        b"/a/..;/x",
        b"/a;b/x",
        b"/a%3bb",
        b"/a%252fx",
        b"/a%2fx",
        b"/a%2Fx",
        b"/a%5cx",
        b"/a\\x",
        b"/a%00",
        b"/a%0d%0a",
        b"/a#frag",
        b"/a%23frag",
        b"/a%7f",
        b"/a%%37%33",
        b"/a%25",
        b"/a%c0%afx",
        b"/a/%e0%80%ae%e0%80%ae/x",
    ],
)
def test_ambiguous(path: bytes) -> None:
    """What one server folds and another does not is ambiguous."""
    assert is_ambiguous(path)


@pytest.mark.parametrize(
    "path",
    [
        b"/v1/accounts",
        b"/v1/accounts/",
        b"/v1/customers/7:accounts",
        b"/a%20b",
        b"/%61",
        b"/caf%C3%A9",
        b"/...",
        b"/a..b",
        b"/a%zz",
        b"/",
    ],
)
def test_not_ambiguous(path: bytes) -> None:
    """Ordinary paths, encoded ones too, are seen the same by all."""
    assert not is_ambiguous(path)


@given(
    st.lists(
        st.text(st.characters(exclude_characters="/\\;#%.", exclude_categories=["C"]), min_size=1)
    )
)
def test_plain_segments_are_never_ambiguous(parts: list[str]) -> None:
    """Segments of plain text, encoded as they should be, are what every server sees."""
    path = b"".join(b"/" + quote_from_bytes(part.encode(), safe="").encode() for part in parts)
    assert not is_ambiguous(path)
    assert segments(path) == [part.encode() for part in parts]


@given(st.binary(max_size=60))
def test_unambiguous_paths_have_one_reading(path: bytes) -> None:
    """Whatever is not ambiguous has the same segments in every reading, case and ends aside."""
    if not is_ambiguous(path):
        plain = [part.lower().strip() for part in segments(path)]
        expected = [part.partition(b"?")[0].strip() for part in plain]
        found = list(readings(path.lower()))
        assert all(parts == [part for part in expected if part] for parts in found[-2:])


def test_split_target() -> None:
    """The first question mark divides; both halves stay byte for byte."""
    assert split_target(b"/a?b?c") == (b"/a", b"?b?c")
    assert split_target(b"/a") == (b"/a", b"")
    assert split_target(b"/a?") == (b"/a", b"?")


@given(st.binary(max_size=60))
def test_split_target_loses_nothing(target: bytes) -> None:
    """Path and rest together are the target."""
    assert b"".join(split_target(target)) == target


def test_segments_are_decoded_once() -> None:
    """Empty segments are left out, and an encoded slash divides nothing."""
    assert segments(b"//a/b%20c//%2561%2f/") == [b"a", b"b c", b"%61/"]
    assert segments(b"") == []
