"""Paths that another server may read differently, over a raw socket in front of a bank."""

import pytest

from proxy.sandbox import Sandbox
from tests.hazards.proxy_under_test import ProxyUnderTest, proxy_under_test
from tests.support.raw_client import ask, request
from tests.support.running import running

EVENTS = "fiCustomers/1/events"


@pytest.mark.parametrize(
    "path",
    [
        f"/subscriptions/v1/fis/00016/../00999/{EVENTS}",
        f"/subscriptions/v1/f%69s/00999/{EVENTS}",
        f"/subscriptions/v1/fis/00999/{EVENTS}",
        f"/subscriptions/v1/FIS/00999/{EVENTS}",
        f"/subscriptions/v1/fis;a=b/00999/{EVENTS}",
        f"/subscriptions/v1/fis/00016/..;/00999/{EVENTS}",
        f"/subscriptions/v1/fis/00016/%2e%2e/00999/{EVENTS}",
        f"/subscriptions/v1/fis/00016%2f..%2f00999/{EVENTS}",
        f"/subscriptions/v1/fis/00016/fis/00999/{EVENTS}",
        f"/subscriptions/v1/fis/00999/fis/00016/{EVENTS}",
        f"/subscriptions/v1/fis/00016/a/fis/00999/{EVENTS}",
    ],
)
async def test_other_institution_in_a_path_is_refused(proxy: ProxyUnderTest, path: str) -> None:
    """Every reading of the path must name an institution that is configured."""
    response = await ask(proxy.app, request("GET", path))
    assert (response.status, response.error) == (403, "institution-not-allowed")
    assert not proxy.bank.arrivals


async def test_institution_named_twice_alike_is_forwarded() -> None:
    """There is one reading."""
    async with Sandbox() as bank, running(bank) as app:
        response = await ask(app, request("GET", "/x/fis/00016/echo/fis/00016/y"))
        assert response.header("x-proxy-error-source") is None
        assert bank.bank.arrivals[-1].target == "/x/fis/00016/echo/fis/00016/y"


@pytest.mark.parametrize(
    "path",
    [
        "/v1/;/../oauth/token",
        "/v1/;a=b/../oauth/token",
        "/v1/oauth;a=b/token",
        "/v1/x/..;/oauth/token",
        "/v1/%6fauth/token",
        "/v1//oauth/token",
    ],
)
async def test_token_endpoint_in_another_spelling_is_refused(
    proxy: ProxyUnderTest, path: str
) -> None:
    """With and without path parameters."""
    response = await ask(proxy.app, request("POST", path, body=b"grant_type=x"))
    assert (response.status, response.error) == (403, "reserved")
    assert not proxy.bank.arrivals


OVERRIDES = [
    *("X-HTTP-Method-Override: DELETE", "X-HTTP-Method: DELETE", "X-Method-Override: DELETE"),
    *("x_http_method_override: DELETE", "X-Original-URL: /secret", "X-Rewrite-URL: /secret"),
    *("X_ORIGINAL_URL: /secret", "x-original-uri: /secret", "X-Forwarded-Uri: /secret"),
]


@pytest.mark.parametrize("line", OVERRIDES)
async def test_access_rule_cannot_be_overridden(line: str) -> None:
    """What the policy has judged is what the bank is asked."""
    access = {"allow": [{"path": "/echo/**", "methods": ["GET", "POST"]}]}
    async with proxy_under_test(access=access) as proxy:
        for method in ("GET", "POST"):
            response = await ask(proxy.app, request(method, "/echo/x", line))
            assert response.status == 200
            arrival = proxy.bank.arrivals[-1]
            assert (arrival.method, arrival.target) == (method, "/echo/x")
            assert arrival.header(line.partition(":")[0]) is None
            assert line.partition(": ")[2] not in str(arrival.headers)
        assert (await ask(proxy.app, request("DELETE", "/echo/x", line))).status == 403
        assert (await ask(proxy.app, request("GET", "/secret", line))).status == 403
