"""Settings of the forwarding path."""

from contextlib import nullcontext

import pytest
from pydantic import TypeAdapter, ValidationError

from proxy.forwarding.forwarding_settings import (
    AccessSettings,
    CorsSettings,
    HeaderSettings,
    RouteSetting,
)
from proxy.tokens.token import TokenKind


def test_path_alone_is_a_pattern_for_every_method() -> None:
    """Methods may be written in any case."""
    written = {"allow": ["/v1/**", {"path": "/v2", "methods": "get, post"}]}
    alone, some = TypeAdapter(AccessSettings).validate_python(written).allow
    assert alone.pattern.matches("DELETE", [b"v1", b"a"])
    assert some.methods == ("GET", "POST")


@pytest.mark.parametrize("path", ["v1", "/a/**/b", "/a b"])
def test_invalid_pattern_is_refused(path: str) -> None:
    """The error occurs when the configuration is read."""
    with pytest.raises(ValidationError):
        TypeAdapter(AccessSettings).validate_python({"deny": [path]})


@pytest.mark.parametrize(
    ("origin", "is_valid"),
    [
        ("http://localhost:3000", True),
        ("https://app.example.com:80", True),
        ("http://[::1]:8443", True),
        *((f"http://app.example.com{end}", False) for end in (":80", "/", "/a", "?b")),
        *((origin, False) for origin in ("https://app.example.com:443", "null", "*", "a.com")),
    ],
)
def test_web_origin_is_one_that_browsers_send(origin: str, *, is_valid: bool) -> None:
    """Browsers leave out the default port; such an entry would never match."""
    with nullcontext() if is_valid else pytest.raises(ValidationError, match="as browsers write"):
        TypeAdapter(CorsSettings).validate_python({"allow_origins": [origin]})


def test_route_names_a_token_kind() -> None:
    """The kind is parsed."""
    route = TypeAdapter(RouteSetting).validate_python({"path": "/a", "token": "v1"})
    assert (route.token, route.path) == (TokenKind.V1, "/a")


def test_customer_header_paths() -> None:
    """Customer ids go into a header for three path families, with and without a prefix."""
    patterns = [path.pattern for path in HeaderSettings().customer_id_paths]
    for path in ([b"v1", b"alert-history", b"1"], [b"x", b"v1", b"realtime-events"]):
        assert any(pattern.matches("GET", path) for pattern in patterns)
