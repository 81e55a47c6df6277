"""What a request is for: which token, which target, or why it is refused."""

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
    """Return a rule as the configuration would make it."""
    return Rule(Pattern.parse(path, frozenset(methods)), TokenKind(kind))


def refused(router: Router, method: str, target: bytes) -> tuple[int, str]:
    """Route what must be refused; return status and name."""
    with pytest.raises(CallerError) as caught:
        router.route(method, target)
    return caught.value.kind.status, caught.value.kind.name


# The target.


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
def test_target(target: bytes, upstream: bytes, path: bytes, *, based: bool) -> None:
    """It goes behind the base path byte for byte, and the base path is not given twice."""
    route = Router(BASE).route("GET", target)
    assert route == Route(TokenKind.V2, upstream, path, based)


def test_target_without_a_base_path() -> None:
    """Then there is nothing to put in front of it."""
    assert Router("").route("GET", b"/v1/x?y") == Route(TokenKind.V2, b"/v1/x?y", b"/v1/x", True)


@pytest.mark.parametrize(
    "target", [b"http://evil/p", b"@evil/p", b"*", b"", b"evil:443", b"\\evil", b"?x"]
)
def test_target_that_is_no_path(target: bytes) -> None:
    """Whatever could name another host is refused."""
    assert refused(Router(BASE), "GET", target) == (400, "target")


@pytest.mark.parametrize("method", ["CONNECT", "TRACE", "PROPFIND", "get", "", "PRI"])
def test_method_that_is_not_forwarded(method: str) -> None:
    """The bank's API has no use for it."""
    assert refused(Router(BASE), method, b"/v1/accounts") == (405, "method")


@pytest.mark.parametrize("method", sorted(METHODS))
def test_method_that_is_forwarded(method: str) -> None:
    """All the others."""
    assert Router("").route(method, b"/v1/accounts").kind is TokenKind.V2


def test_safe_methods() -> None:
    """Those that change nothing, by HTTP's own word."""
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
def test_token_endpoints_are_ours(target: bytes) -> None:
    """Nobody mints or revokes tokens through us; more spellings stand in test_paths.py."""
    assert refused(Router(BASE), "POST", target) == (403, "reserved")


def test_query_that_looks_like_a_token_endpoint() -> None:
    """A query is no path."""
    assert Router(BASE).route("GET", b"/v1/x?next=/oauth2/v1/token").kind is TokenKind.V2


@given(PATH, st.none() | QUERY, st.sampled_from(["", BASE]))
def test_target_goes_through_byte_for_byte(path: bytes, query: bytes | None, base: str) -> None:
    """Whatever is not refused leaves as it came, behind the base path, which stands there once."""
    target = path if query is None else path + b"?" + query
    try:
        found = Router(base).route("GET", target)
    except CallerError:
        assert refused(Router(base), "GET", target) in (
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
def test_character_that_no_target_may_hold(char: bytes) -> None:
    """RFC 9112 section 3.2: neither in the path nor in the query, wherever it stands."""
    for target in (b"/v1/accounts%b", b"/%bv1", b"/v1?%b", b"/v1?a=%bx&b"):
        assert refused(Router(BASE), "GET", target % char) == (400, "target-character")


@pytest.mark.parametrize("relaxed", ["", "|", "{}", "{|}"])
def test_relaxed_query_characters(relaxed: str) -> None:
    """Those that are configured pass in a query, byte for byte; never in a path."""
    router = Router("", relaxed_query_chars=relaxed)
    for char in "{|}":
        target = f"/v1?filter={char}a{char}".encode()
        if char in relaxed:
            assert router.route("GET", target).target == target
        else:
            assert refused(router, "GET", target) == (400, "target-character")
        assert refused(router, "GET", f"/v1/{char}".encode()) == (400, "target-character")
    assert refused(router, "GET", b"/v1?a#b") == (400, "target-character")


def test_characters_that_a_target_may_hold() -> None:
    """All that RFC 3986 has, square brackets in a query, and percent signs as they come."""
    target = b"/-._~!$&'()*+,=:@aZ0%20%zz?/?-._~!$&'()*+,;=:@page[size]=1&x=%7B%7C&%"
    assert Router("").route("GET", target).target == target
    assert refused(Router(""), "GET", b"/v1/a[0]") == (400, "target-character")


# The token.


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
def test_token_by_path(target: bytes, kind: TokenKind, institution: bytes | None) -> None:
    """What lies under /fis/ is legacy and names its institution; everything else is V2."""
    route = Router(BASE).route("GET", target)
    assert (route.kind, route.institution) == (kind, institution)


def test_rules_go_before_the_default() -> None:
    """The first that matches decides; method and path count, the base path does not."""
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
    """It is the segment behind the first /fis/, as it stands."""
    assert institution_in(b"/a/fis/1/fis/2") == b"1"
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
def test_institution_that_servers_see_differently(path: bytes, base: str) -> None:
    """Whose token goes out must be whose data is asked for, whichever way the path is read."""
    for prefix in (b"", base.encode()):
        found = refused(Router(base), "GET", prefix + path)
        assert found == (403, "institution-not-allowed")


@pytest.mark.parametrize(
    "path", [b"/../v1/accounts", b"/%2e%2e/v1/accounts", b"/v1/../../v1/accounts", b"/..;/v1"]
)
def test_path_that_climbs_out_of_the_base_path(path: bytes) -> None:
    """Behind /digitalbanking/stage it would be production."""
    for prefix in (b"", BASE.encode()):
        assert refused(Router(BASE), "GET", prefix + path) == (400, "target")


def test_long_paths_are_not_remembered() -> None:
    """The memory for routes is bounded, however long the paths are that callers send."""
    router = Router(BASE)
    for number in range(3):
        long = b"/v1/" + b"x" * LONGEST_KEPT + b"/%d" % number
        assert router.route("GET", long).target.endswith(long)
    assert router.routes_kept == 0
    router.route("GET", b"/v1/accounts")
    assert router.routes_kept == 1


# The institution.


ALLOWED = frozenset({"00016", "00017"})


def route(institution: bytes | None = None) -> Route:
    """Return a route that names this institution."""
    return Route(TokenKind.V1, b"/", b"/", has_base_path=True, institution=institution)


@pytest.mark.parametrize(
    ("in_path", "asked", "institution"),
    [
        (None, None, "00016"),
        (None, b"00017", "00017"),
        (b"00017", None, "00017"),
        (b"00017", b"00017", "00017"),
        (None, b"00016", "00016"),
    ],
)
def test_institution(in_path: bytes | None, asked: bytes | None, institution: str) -> None:
    """The path's, the caller's, or the default."""
    assert institution_for(route(in_path), asked, "00016", ALLOWED) == institution


@pytest.mark.parametrize(
    ("in_path", "asked", "kind"),
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
def test_institution_that_is_refused(
    in_path: bytes | None, asked: bytes | None, kind: ErrorKind
) -> None:
    """Two that disagree, one that is not served here, and what is no number."""
    with pytest.raises(CallerError) as caught:
        institution_for(route(in_path), asked, "00016", ALLOWED)
    assert caught.value.kind is kind


# The policy.


def test_policy_that_refuses() -> None:
    """What it does not permit is refused, judged without the base path."""
    router = Router(BASE, policy=AccessPolicy(allow=[Pattern.parse("/v1/accounts/**")]))
    assert not router.route("GET", b"/v1/accounts/7?x=/private").has_policy_warning
    assert not router.route("GET", b"/digitalbanking/stage/v1/accounts").has_policy_warning
    assert refused(router, "GET", b"/private?x=/v1/accounts") == (403, "path-policy")
    assert refused(router, "GET", b"/v1/accounts/%2e%2e%2fprivate") == (403, "path-policy")


def test_policy_that_warns() -> None:
    """It forwards, and says that it would have refused."""
    policy = AccessPolicy(deny=[Pattern.parse("/private")], enforce=False)
    router = Router(BASE, policy=policy)
    assert router.route("GET", b"/private").has_policy_warning
    assert not router.route("GET", b"/public").has_policy_warning


# Mistakes in rules.


@pytest.mark.parametrize(
    ("rules", "says"),
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
def test_mistakes_in_rules(rules: list[Rule], says: list[str]) -> None:
    """A rule that can never match, and two that say different things of the same requests."""
    errors = rule_errors(rules)
    assert len(errors) == bool(says)
    assert all(word in errors[0] for word in says)
