"""Settings of the forwarding path."""

import pytest
from pydantic import TypeAdapter, ValidationError

from proxy.forwarding.forwarding_settings import AccessSettings, HeaderSettings, RouteSetting
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


def test_route_names_a_token_kind() -> None:
    """The kind is parsed."""
    route = TypeAdapter(RouteSetting).validate_python({"path": "/a", "token": "v1"})
    assert (route.token, route.path) == (TokenKind.V1, "/a")


def test_customer_header_paths() -> None:
    """Customer ids go into a header for three path families, with and without a prefix."""
    patterns = [path.pattern for path in HeaderSettings().customer_id_paths]
    for path in ([b"v1", b"alert-history", b"1"], [b"x", b"v1", b"realtime-events"]):
        assert any(pattern.matches("GET", path) for pattern in patterns)
