"""Which requests may be sent twice."""

import pytest

from proxy.forwarding.bodies import Upload
from proxy.forwarding.context import Replay, RequestContext
from proxy.forwarding.headers import CallerHeaders
from proxy.forwarding.patterns import Pattern
from proxy.forwarding.record import RequestRecord
from proxy.forwarding.routing import METHODS, SAFE_METHODS, Router
from proxy.server.limits import CallerLimits
from proxy.server.messages import Request
from proxy.server.server import Server
from proxy.tokens.token import TokenKey, TokenKind
from tests.server.listening import echo
from tests.support.running import make_app


def make(method: str, *headers: tuple[bytes, bytes]) -> RequestContext:
    """Return a request context as the forwarder makes it."""
    limits = CallerLimits()
    server = Server(echo, lambda _error, _caller: NotImplemented, limits)
    raw = [(b"Host", b"x"), *headers]
    asked = Request(server(), method, b"/v1/x", (1, 1), raw, True)
    caller = CallerHeaders(asked.headers)
    has_body = caller.chunked or caller.length
    return RequestContext(
        request=asked,
        record=RequestRecord(method, b"/v1/x", 0.0),
        headers=caller,
        upstream=make_app("http://127.0.0.1:1").forwarder._upstream,
        route=Router("").route(method, asked.target),
        key=TokenKey(TokenKind.V2, "00016"),
        transaction_id=b"",
        target=asked.target,
        deadline=0.0,
        upload=Upload(asked, caller, limits) if has_body else None,
    )


@pytest.mark.parametrize("method", sorted(METHODS))
async def test_safe_methods_without_a_body_are_safe(method: str) -> None:
    """No other request is safe to repeat."""
    for headers, has_body in (
        ([], False),
        ([(b"Content-Length", b"0")], False),
        ([(b"Content-Length", b"5")], True),
        ([(b"Transfer-Encoding", b"chunked")], True),
    ):
        context = make(method, *headers)
        assert context.is_safe == (method in SAFE_METHODS and not has_body)
        assert context.is_replayable == context.is_safe
        assert context.is_uploaded != has_body


async def test_idempotent_route_may_be_replayed_but_is_not_safe() -> None:
    """It is replayed after a refused token, not after a broken connection."""
    context = make("POST", (b"Content-Length", b"5"))
    context.is_replay_permitted = True
    assert context.is_replayable
    assert not context.is_safe


async def test_finished_upload_is_done() -> None:
    """An upload is done once its body has been sent."""
    context = make("POST", (b"Content-Length", b"5"))
    assert context.upload is not None
    context.upload.is_finished = True
    assert context.is_uploaded


PATTERNS = (Pattern.parse("/v1/things/*", frozenset({"PUT"})), Pattern.parse("/echo"))


@pytest.mark.parametrize(
    ("method", "path", "length", "allowed"),
    [
        ("PUT", b"/v1/things/7", 100, True),
        ("PUT", b"/v1/things/7", 0, True),
        ("PUT", b"/v1/things/7", 101, False),
        ("PUT", b"/v1/things/7", None, False),
        ("POST", b"/v1/things/7", 10, False),
        ("PUT", b"/v1/things/7/x", 10, False),
        ("PUT", b"/v1/things/%2e%2e", 10, False),
        ("POST", b"/echo", 10, True),
    ],
)
def test_may_replay(method: str, path: bytes, length: int | None, *, allowed: bool) -> None:
    """Only configured routes with a small body of known length are replayed."""
    assert Replay(PATTERNS, 100).allows(method, path, length) is allowed
    assert not Replay().allows(method, path, length)
