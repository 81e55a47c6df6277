"""The upstreams of one listener: keys of their own institutions, and shares in flight."""

import pytest

from proxy.errors import ProxyError
from proxy.forwarding.upstream import InFlightShares, Upstream
from proxy.tokens.token import TokenKey, TokenKind
from tests.support.running import CLIENT, make_app

OTHER = "http://127.0.0.1:2"


def upstreams() -> tuple[Upstream, Upstream]:
    """Return those of a proxy that calls nobody: of 00016, and of 00017 at another address."""
    app = make_app("http://127.0.0.1:1", institutions={"00017": {"base_url": OTHER, **CLIENT}})
    found = app.forwarder._upstreams
    return found["00016"], found["00017"]


async def test_key_has_the_origin_and_no_other_institution() -> None:
    """So no token of one origin can be asked for at another."""
    main, other = upstreams()
    assert main.token_key(TokenKind.V2, "00016") == TokenKey(TokenKind.V2, "00016")
    assert other.token_key(TokenKind.V1, "00017") == TokenKey(TokenKind.V1, "00017", OTHER)
    for upstream, institution in ((main, "00017"), (other, "00016")):
        with pytest.raises(KeyError):
            upstream.token_key(TokenKind.V2, institution)


async def test_each_origin_has_a_share_of_the_requests_in_flight() -> None:
    """Of 8, one origin may have 6 and leaves 2; all are free again after their end."""
    main, other = upstreams()
    shares = InFlightShares(8, 2)
    for _ in range(2):
        for _ in range(6):
            shares.begin(main)
        with pytest.raises(ProxyError):
            shares.begin(main)
        for _ in range(2):
            shares.begin(other)
        with pytest.raises(ProxyError):
            shares.begin(other)
        shares.end(main)
        shares.begin(other)
        for upstream, count in ((main, 5), (other, 3)):
            assert upstream.in_flight == count
            for _ in range(count):
                shares.end(upstream)


async def test_single_origin_has_no_choice() -> None:
    """Requests then take the upstream without a look-up, and all may be in flight there."""
    forwarder = make_app("http://127.0.0.1:1", allowed_institutions="00017").forwarder
    assert not forwarder._upstreams
