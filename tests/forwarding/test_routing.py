"""Routing: token kind and target of a request, or the reason of its refusal."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import CallerError, ErrorKind, kinds
from proxy.forwarding.access_policy import AccessPolicy
from proxy.forwarding.patterns import Pattern
from proxy.forwarding.routing import (
    LONGEST_KEPT,
    METHODS,
    SAFE_METHODS,
    Route,
    Router,
    Rule,
    institution_for,
    institution_in,
    rule_errors,
)
from proxy.tokens.token import TokenKind

BASE = "/digitalbanking/stage"
PATH = st.text(
    st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters="?#"), max_size=40
).map(lambda text: ("/" + text).encode())
QUERY = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=40).map(str.encode)


def rule(path: str, kind: str, *methods: str) -> Rule:
    """Return a rule as the configuration makes it."""
    return Rule(Pattern.parse(path, frozenset(methods)), TokenKind(kind))


def refusal(router: Router, method: str, target: bytes) -> tuple[int, str]:
    """Route a request that must be refused; return status and error name."""
    with pytest.raises(CallerError) as caught:
        router.route(method, target)
    return caught.value.kind.status, caught.value.kind.name


# Target.


@pytest.mark.parametrize(
    ("target", "upstream", "path", "based"),
    [
        (b"/v1/accounts", b"/digitalbanking/stage/v1/accounts", b"/v1/accounts", False),
        (b"/digitalbanking/stage/v1/x", b"/digitalbanking/stage/v1/x", b"/v1/x", True),
        (b"/digitalbanking/stage", b"/digitalbanking/stage", b"", True),
        (b"/digitalbanking/stage?x", b"/digitalbanking/stage?x", b"", True),
        (
            *(b"/digitalbanking/stagecoach", b"/digitalbanking/stage/digitalbanking/stagecoach"),
            *(b"/digitalbanking/stagecoach", False),
        ),
        (b"/", b"/digitalbanking/stage/", b"/", False),
        (b"//evil/p", b"/digitalbanking/stage//evil/p", b"//evil/p", False),
        (
            *(b"/v1/x?a=%zz;b=1&%", b"/digitalbanking/stage/v1/x?a=%zz;b=1&%"),
            *(b"/v1/x", False),
        ),
        (
            *(b"/v1/c/1:accounts", b"/digitalbanking/stage/v1/c/1:accounts"),
            *(b"/v1/c/1:accounts", False),
        ),
    ],
)
def test_target_gets_the_base_path_once(
    target: bytes, upstream: bytes, path: bytes, *, based: bool
) -> None:
    """The target stays byte for byte behind the base path."""
    route = Router(BASE).route("GET", target)
    assert route == Route(TokenKind.V2, upstream, path, based)


def test_target_without_a_base_path() -> None:
    """It is unchanged."""
    assert Router("").route("GET", b"/v1/x?y") == Route(TokenKind.V2, b"/v1/x?y", b"/v1/x", True)


@pytest.mark.parametrize(
    "target", [b"http://evil/p", b"@evil/p", b"*", b"", b"evil:443", b"\\evil", b"?x"]
)
def test_target_without_a_path_is_refused(target: bytes) -> None:
    """It could name another host."""
    assert refusal(Router(BASE), "GET", target) == (400, "target")


@pytest.mark.parametrize("method", ["CONNECT", "TRACE", "PROPFIND", "get", "", "PRI"])
def test_unsupported_method_is_refused(method: str) -> None:
    """The bank's API does not use it."""
    assert refusal(Router(BASE), method, b"/v1/accounts") == (405, "method")


@pytest.mark.parametrize("method", sorted(METHODS))
def test_supported_method_is_forwarded(method: str) -> None:
    """All others are forwarded."""
    assert Router("").route(method, b"/v1/accounts").kind is TokenKind.V2


def test_safe_methods() -> None:
    """The safe methods are those of RFC 9110 section 9.2.1."""
    assert {"GET", "HEAD", "OPTIONS"} == SAFE_METHODS


@pytest.mark.parametrize(
    "target",
    [
        *(b"/oauth2/v1/token", b"/digitalbanking/stage/oauth2/v1/token", b"//oauth2/v1/revoke"),
        *(b"/OAuth2/v1/token", b"/x/../oauth2/v1/token", b"/%6fauth2/v1/token"),
        *(b"/v1/oauth/token", b"/v1/oauth/token?x=/v1/accounts", b"/../../oauth2/v1/token"),
        b"/digitalbanking/stage/../stage/oauth2/v1/token",
    ],
)
def test_token_endpoints_are_reserved(target: bytes) -> None:
    """``test_paths.py`` has more spellings."""
    assert refusal(Router(BASE), "POST", target) == (403, "reserved")


def test_token_endpoint_in_a_query_is_not_reserved() -> None:
    """The query is not part of the path."""
    assert Router(BASE).route("GET", b"/v1/x?next=/oauth2/v1/token").kind is TokenKind.V2


@given(PATH, st.none() | QUERY, st.sampled_from(["", BASE]))
def test_target_is_forwarded_byte_for_byte(path: bytes, query: bytes | None, base: str) -> None:
    """An accepted target is unchanged behind the base path, which occurs once."""
    target = path if query is None else path + b"?" + query
    try:
        found = Router(base).route("GET", target)
    except CallerError:
        assert refusal(Router(base), "GET", target) in (
            (400, "target"),
            (400, "target-character"),
            (403, "reserved"),
            (403, "institution-not-allowed"),
        )
        return
    prefix = base.encode()
    assert found.target.startswith(prefix + b"/") or found.target == prefix
    assert found.target == (target if found.has_base_path else prefix + target)
    assert found.has_base_path == (path == prefix or path.startswith(prefix + b"/"))
    assert path == (prefix + found.path if found.has_base_path else found.path)


UNENCODED = [bytes([byte]) for byte in b'"#<>\\^`{|}\x00\x1f \x7f\x80\xc3\xff\r\n']


@pytest.mark.parametrize("char", UNENCODED)
def test_invalid_character_in_target_is_refused(char: bytes) -> None:
    """RFC 9112 section 3.2; in the path and in the query."""
    for target in (b"/v1/accounts%b", b"/%bv1", b"/v1?%b", b"/v1?a=%bx&b"):
        assert refusal(Router(BASE), "GET", target % char) == (400, "target-character")


@pytest.mark.parametrize("relaxed", ["", "|", "{}", "{|}"])
def test_relaxed_query_characters(relaxed: str) -> None:
    """Configured characters pass in a query, never in a path."""
    router = Router("", relaxed_query_chars=relaxed)
    for char in "{|}":
        target = f"/v1?filter={char}a{char}".encode()
        if char in relaxed:
            assert router.route("GET", target).target == target
        else:
            assert refusal(router, "GET", target) == (400, "target-character")
        assert refusal(router, "GET", f"/v1/{char}".encode()) == (400, "target-character")
    assert refusal(router, "GET", b"/v1?a#b") == (400, "target-character")


def test_valid_characters_in_target() -> None:
    """RFC 3986 characters, square brackets in a query, and any percent signs."""
    target = b"/-._~!$&'()*+,=:@aZ0%20%zz?/?-._~!$&'()*+,;=:@page[size]=1&x=%7B%7C&%"
    assert Router("").route("GET", target).target == target
    assert refusal(Router(""), "GET", b"/v1/a[0]") == (400, "target-character")


# Token.


@pytest.mark.parametrize(
    ("target", "kind", "institution"),
    [
        (b"/v1/accounts", TokenKind.V2, None),
        (b"/subscriptions/v1/fis/00016/fiCustomers/1/events", TokenKind.V1, b"00016"),
        (b"/registration/v4/fis/00017", TokenKind.V1, b"00017"),
        (b"/x/fis/", TokenKind.V1, b""),
        (b"/x/fis", TokenKind.V2, None),
        (b"/x?next=/fis/00017/", TokenKind.V2, None),
        (b"/xfis/00017/", TokenKind.V2, None),
    ],
)
def test_token_kind_by_path(target: bytes, kind: TokenKind, institution: bytes | None) -> None:
    """Paths under /fis/ are V1 and name their institution; all others are V2."""
    route = Router(BASE).route("GET", target)
    assert (route.kind, route.institution) == (kind, institution)


def test_rules_precede_the_default() -> None:
    """The first match of method and path decides, without the base path."""
    router = Router(
        BASE,
        [
            rule("/destinations/**", "v1"),
            rule("/v1/fis/*/new", "v2", "GET"),
            rule("/v1/**", "v1", "DELETE"),
        ],
    )
    assert router.route("GET", b"/destinations").kind is TokenKind.V1
    assert router.route("GET", b"/digitalbanking/stage/destinations/7").kind is TokenKind.V1
    assert router.route("GET", b"/v1/fis/00016/new").kind is TokenKind.V2
    assert router.route("POST", b"/v1/fis/00016/new").kind is TokenKind.V1
    assert router.route("DELETE", b"/v1/accounts").kind is TokenKind.V1
    assert router.route("GET", b"/v1/accounts").kind is TokenKind.V2


def test_institution_in_a_path() -> None:
    """The segment after the first /fis/, undecoded."""
    assert institution_in(b"/a/fis/1/fis/1/x") == b"1"
    assert institution_in(b"/a/fis/") == b""
    for path in (b"/a/fis/1/fis/2", b"/fis/1/b/fis/2/c", b"/fis/fis/1", b"/fis/1/fis/"):
        with pytest.raises(CallerError) as caught:
            institution_in(path)
        assert caught.value.kind is kinds.INSTITUTION_NOT_ALLOWED
    assert institution_in(b"/a/b") is None


@pytest.mark.parametrize("base", ["", BASE])
@pytest.mark.parametrize(
    "path",
    [
        b"/subscriptions/v1/fis/00016/../00999/fiCustomers/1/events",
        b"/subscriptions/v1/f%69s/00999/fiCustomers/1/events",
        b"/subscriptions/v1/FIS/00999/fiCustomers/1/events",
    ],
)
def test_ambiguous_institution_is_refused(path: bytes, base: str) -> None:
    """Token and data must belong to the same institution in every reading."""
    for prefix in (b"", base.encode()):
        found = refusal(Router(base), "GET", prefix + path)
        assert found == (403, "institution-not-allowed")


@pytest.mark.parametrize(
    "path", [b"/../v1/accounts", b"/%2e%2e/v1/accounts", b"/v1/../../v1/accounts", b"/..;/v1"]
)
def test_path_above_the_base_path_is_refused(path: bytes) -> None:
    """Above /digitalbanking/stage is production."""
    for prefix in (b"", BASE.encode()):
        assert refusal(Router(BASE), "GET", prefix + path) == (400, "target")


def test_long_paths_are_not_cached() -> None:
    """The route cache is bounded in bytes."""
    router = Router(BASE)
    for number in range(3):
        long = b"/v1/" + b"x" * LONGEST_KEPT + b"/%d" % number
        assert router.route("GET", long).target.endswith(long)
    assert router.cached_routes == 0
    router.route("GET", b"/v1/accounts")
    assert router.cached_routes == 1


# Institution.


ALLOWED = frozenset({"00016", "00017"})


def route(institution: bytes | None = None) -> Route:
    """Return a route with this institution."""
    return Route(TokenKind.V1, b"/", b"/", has_base_path=True, institution=institution)


@pytest.mark.parametrize(
    ("in_path", "requested", "institution"),
    [
        (None, None, "00016"),
        (None, b"00017", "00017"),
        (b"00017", None, "00017"),
        (b"00017", b"00017", "00017"),
        (None, b"00016", "00016"),
    ],
)
def test_institution_for_request(
    in_path: bytes | None, requested: bytes | None, institution: str
) -> None:
    """The path's, the caller's, or the default."""
    assert institution_for(route(in_path), requested, "00016", ALLOWED) == institution


@pytest.mark.parametrize(
    ("in_path", "requested", "kind"),
    [
        (b"00016", b"00017", kinds.INSTITUTION_CONFLICT),
        (None, b"00018", kinds.INSTITUTION_NOT_ALLOWED),
        (b"00018", None, kinds.INSTITUTION_NOT_ALLOWED),
        (b"00018", b"00018", kinds.INSTITUTION_NOT_ALLOWED),
        (None, b"16", kinds.INSTITUTION_NOT_ALLOWED),
        (None, b"", kinds.INSTITUTION_MALFORMED),
        (b"", None, kinds.INSTITUTION_MALFORMED),
        (None, b"x", kinds.INSTITUTION_MALFORMED),
        (None, b"00017 ", kinds.INSTITUTION_MALFORMED),
        (None, b"9" * 21, kinds.INSTITUTION_MALFORMED),
        (b"%3000017", None, kinds.INSTITUTION_MALFORMED),
    ],
)
def test_wrong_institution_is_refused(
    in_path: bytes | None, requested: bytes | None, kind: ErrorKind
) -> None:
    """A conflict, an institution that is not configured, or not a number."""
    with pytest.raises(CallerError) as caught:
        institution_for(route(in_path), requested, "00016", ALLOWED)
    assert caught.value.kind is kind


# Access policy.


def test_enforced_policy_refuses() -> None:
    """The path is checked without the base path."""
    router = Router(BASE, policy=AccessPolicy(allow=[Pattern.parse("/v1/accounts/**")]))
    assert not router.route("GET", b"/v1/accounts/7?x=/private").has_policy_warning
    assert not router.route("GET", b"/digitalbanking/stage/v1/accounts").has_policy_warning
    assert refusal(router, "GET", b"/private?x=/v1/accounts") == (403, "path-policy")
    assert refusal(router, "GET", b"/v1/accounts/%2e%2e%2fprivate") == (403, "path-policy")


def test_policy_in_warn_mode_forwards() -> None:
    """The route records that enforcement would have refused."""
    policy = AccessPolicy(deny=[Pattern.parse("/private")], enforce=False)
    router = Router(BASE, policy=policy)
    assert router.route("GET", b"/private").has_policy_warning
    assert not router.route("GET", b"/public").has_policy_warning


# Invalid rules.


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ([rule("/a", "v1"), rule("/b", "v2")], []),
        ([rule("/a", "v1"), rule("/a/**", "v2")], []),
        ([rule("/a", "v1", "GET"), rule("/a", "v2")], []),
        ([rule("/a/**", "v1"), rule("/a/b", "v2")], ["routes.1", "never reached", "routes.0"]),
        ([rule("/a", "v1"), rule("/a", "v1", "GET")], ["routes.1", "never reached"]),
        ([rule("/a", "v1"), rule("/a", "v1")], ["routes.1", "never reached"]),
        ([rule("/a", "v1"), rule("/x", "v1"), rule("/a", "v2")], ["routes.2", "two tokens"]),
    ],
)
def test_invalid_rules_are_refused(rules: list[Rule], message: list[str]) -> None:
    """A rule that can never match, and rules that contradict each other."""
    errors = rule_errors(rules)
    assert len(errors) == bool(message)
    assert all(word in errors[0] for word in message)
