"""How servers may normalize a path: reserved endpoints in every spelling."""

from collections.abc import Callable
from urllib.parse import quote_from_bytes, unquote_to_bytes

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from proxy.forwarding.paths import (
    climbs,
    decode,
    is_ambiguous,
    is_hidden,
    is_plain,
    is_reserved,
    possible_segments,
    segments,
    split_target,
)

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
def test_reserved_endpoint_is_found_in_every_spelling(
    path: bytes, spell: Callable[[bytes], bytes]
) -> None:
    """Token, revocation and authorization endpoints are recognized however encoded."""
    assert is_reserved(spell(path))


@pytest.mark.parametrize(
    "path",
    [
        b"/oauth2/../v1/accounts",
        b"/v1/oauth/%2e%2e/accounts",
        b"/v1/oauth/%252e%252e/token",
        b"/v1/x/../oauth/token",
        b"/v1/;/../oauth/token",
        b"/v1/;a=b/../oauth/token",
        b"/v1/%3b/../oauth/token",
        b"/v1//../oauth/token",
        b"/v1/x;/..;/oauth/token",
        b"/v1/./;/%2e./oauth/token",
        b"/v1/\\..\\oauth/token",
        b"/v1/%5c..%5coauth/token",
        b"/v1/oa%09uth/token",
    ],
)
def test_reserved_with_and_without_dot_segments(path: bytes) -> None:
    """A server that keeps dot segments sees the endpoint's prefix."""
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
def test_similar_paths_are_not_reserved(path: bytes) -> None:
    """A path that only resembles an endpoint may be used."""
    assert not is_reserved(path)


@given(st.sampled_from(ENDPOINTS), st.data())
def test_reserved_with_any_bytes_encoded(path: bytes, data: st.DataObject) -> None:
    """Any bytes may be percent-encoded, once or twice."""

    def spell(byte: int) -> bytes:
        plain = bytes([byte])
        ways = [plain, plain.upper(), b"%%%02x" % byte, b"%%25%02X" % byte]
        return data.draw(st.sampled_from(ways if plain != b"/" else [*ways, b"//", b"\\"]))

    assert is_reserved(b"/" + b"".join(map(spell, path[1:])))


@given(st.binary(max_size=40))
@example(b"%" + b"25" * 30 + b"61")
def test_possible_segments_contain_no_delimiter(path: bytes) -> None:
    """Any bytes have possible segments without slash, query or fragment."""
    assert not any(part for part in possible_segments(path) if set(part) & set(b"/\\;?#"))
    assert is_reserved(path) in (True, False)


@given(
    st.lists(
        st.sampled_from(
            [b"a", b"fis", b"f%69s", b"FIS", b";", b";x=1", b"..", b"%2e%2e", b".", b"", b"b%2ffis"]
        ),
        max_size=6,
    ),
    st.sampled_from([b"/", b"\\", b"%2f", b"%5C", b"%252f"]),
)
def test_every_normalization_is_a_possible_reading(parts: list[bytes], slash: bytes) -> None:
    """Decoding, splitting, parameters and dot segments, in any order."""
    path = b"/" + slash.join(parts)
    possible = possible_segments(path)
    for decoded in (path, unquote_to_bytes(path), unquote_to_bytes(unquote_to_bytes(path))):
        for text in (decoded, decoded.replace(b"\\", b"/")):
            for with_parameters in (True, False):
                folded: list[bytes] = []
                for part in text.split(b"/"):
                    name = part if with_parameters else part.partition(b";")[0]
                    if name == b"..":
                        del folded[-1:]
                    else:
                        folded.append(unquote_to_bytes(name).lower())
                plain = {part for part in folded if not set(part) & set(b"/\\;%")}
                assert plain <= possible | {b""}


@pytest.mark.parametrize(
    "path",
    [
        b"/subscriptions/v1/fis/00016/../00999/fiCustomers/1/events",
        b"/subscriptions/v1/f%69s/00999/fiCustomers/1/events",
        b"/subscriptions/v1/FIS/00999/fiCustomers",
        b"/subscriptions/v1/%66%69%73/00999",
        b"/subscriptions/v1/f%2569s/00999",
        b"/subscriptions/v1/fis%2f00999/x",
        b"/subscriptions/v1/fis%5c00999/x",
        b"/subscriptions/v1\\fis\\00999/x",
        b"/subscriptions/v1/fis;a=b/00999/x",
        b"/subscriptions/v1/fis//00999/x",
        b"/subscriptions/v1/fis/./00999/x",
        b"/subscriptions/v1/fis%20/00999/x",
        b"/subscriptions/v1/fis%3f/00999/x",
        b"/subscriptions/v1/f%c1%a9s/00999/x",
        b"/subscriptions/v1/fi%00s/00999/x",
        b"/fis/00016/x/..%2f..%2f00999",
        b"/v1/fis/00016/fIs/00999",
    ],
)
def test_hidden_institution_is_found(path: bytes) -> None:
    """A path that some server reads as V1 is V1 or ambiguous."""
    assert is_hidden(b"fis", path)


@pytest.mark.parametrize(
    "path",
    [
        b"/subscriptions/v1/fis/00016/fiCustomers/1/events",
        b"/subscriptions/v1/fis/00016/fiCustomers/a%20b/events",
        b"/v1/accounts;x=1",
        b"/v1/fishing/x",
        b"/v1/x/../accounts",
        b"/",
    ],
)
def test_institution_that_is_not_hidden(path: bytes) -> None:
    """Ordinary V1 paths, and unusual ones that name no institution."""
    assert not is_hidden(b"fis", path)


@pytest.mark.parametrize(
    "path",
    [
        b"/../v1/accounts",
        b"/%2e%2e/v1/accounts",
        b"/%252e%252e/v1",
        b"/.%2E/v1",
        b"/v1/../../x",
        b"/./../x",
        b"//../x",
        b"/v1//../../x",
        b"/..;/x",
        b"/..;a=b/x",
        b"/;a=b/../x",
        b"/..\\x",
        b"/..%5cx",
        b"/a/..%2f..%2fx",
        b"/a%2fb/../../x",
        b"/%c0%ae%c0%ae/x",
        b"/.%00./x",
        b"/..",
    ],
)
def test_climbing_path_is_found(path: bytes) -> None:
    """In some reading it ends above the start."""
    assert climbs(path)


@pytest.mark.parametrize(
    "path",
    [
        *(b"/v1/x/../accounts", b"/v1/..", b"/a..b/...", b"/v1/./x", b"//x", b"/a;b/c", b"/a%2fb"),
        *(b"/a/%2e%2e%2fx", b"/a/..;/x", b"/a/b/..%2f..%2fx", b""),
    ],
)
def test_path_that_does_not_climb(path: bytes) -> None:
    """It stays below the start in every reading."""
    assert not climbs(path)


def test_plain_path_is_recognized_by_one_search() -> None:
    """A plain path is neither ambiguous nor hidden."""
    for path in (b"/v1/accounts", b"/v1/customers/7:accounts", b"/a..b/c.d", b"/", b"/A~_-"):
        assert is_plain(path)
        assert not is_ambiguous(path)
    for path in (b"/a%20", b"/a;b", b"//a", b"/./a", b"/a\\b", b"/\xc3", b"/a b"):
        assert not is_plain(path)


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
        b"/a%3fb=c",
        b"/a%20/x",
        b"/%20a",
        b"/a/..%20/x",
        b"/a%7f",
        b"/a%%37%33",
        b"/a%25",
        b"/a%c0%afx",
        b"/a/%e0%80%ae%e0%80%ae/x",
    ],
)
def test_ambiguous_path(path: bytes) -> None:
    """Servers normalize it differently."""
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
def test_unambiguous_path(path: bytes) -> None:
    """Ordinary paths, encoded ones included, have one reading."""
    assert not is_ambiguous(path)


@given(
    st.lists(
        st.text(st.characters(exclude_characters="/\\;#?% .", exclude_categories=["C"]), min_size=1)
    )
)
def test_plain_segments_are_never_ambiguous(parts: list[str]) -> None:
    """Every server reads properly encoded plain text alike."""
    path = b"".join(b"/" + quote_from_bytes(part.encode(), safe="").encode() for part in parts)
    assert not is_ambiguous(path)
    assert segments(path) == [part.encode() for part in parts]


@given(st.binary(max_size=60))
def test_unambiguous_paths_have_one_reading(path: bytes) -> None:
    """Apart from case and empty ends."""
    if not is_ambiguous(path):
        own = {part.lower() for part in segments(path) + path.split(b"/")}
        assert possible_segments(path) <= own | {b""}


@given(st.text("%0123456789abcdefABCDEFxX+- /\n", max_size=40))
def test_decoding_is_that_of_urllib(text: str) -> None:
    """Invalid escapes stay."""
    assert decode(text.encode()) == unquote_to_bytes(text)


def test_split_target() -> None:
    """The first question mark divides; both parts stay byte for byte."""
    assert split_target(b"/a?b?c") == (b"/a", b"?b?c")
    assert split_target(b"/a") == (b"/a", b"")
    assert split_target(b"/a?") == (b"/a", b"?")


@given(st.binary(max_size=60))
def test_split_target_loses_nothing(target: bytes) -> None:
    """Path and rest together are the target."""
    assert b"".join(split_target(target)) == target


def test_segments_are_decoded_once() -> None:
    """Empty segments are dropped, and an encoded slash does not split."""
    assert segments(b"//a/b%20c//%2561%2f/") == [b"a", b"b c", b"%61/"]
    assert segments(b"") == []
