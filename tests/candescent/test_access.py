"""Access of callers to resources."""

from typing import Any

import pytest
from structlog.testing import capture_logs

from proxy.sandbox import Settings
from tests.candescent.setup import bank_fixture, raw

ENFORCED: dict[str, Any] = {
    "allow": ["/v1/**", "/echo/**"],
    "deny": [{"path": "/v1/transfers", "methods": "POST"}],
}


async def test_policy_refuses() -> None:
    """Denied and unlisted resources are a 403 and do not reach the bank."""
    async with bank_fixture(access=ENFORCED) as there:
        assert (await there.call("/v1/accounts")).status == 200
        for method, path in (("POST", "/v1/transfers"), ("GET", "/gzip"), ("GET", "/v1/a;b/c")):
            response = await there.call(path, method)
            assert (response.status, response.error) == (403, "caller path-policy")
        assert there.bank.counts["arrivals"] == 1
        assert there.count("policy_warnings") == 0


async def test_policy_in_warn_mode_forwards() -> None:
    """It is counted and logged."""
    with capture_logs() as logs:
        async with bank_fixture(
            access=ENFORCED | {"mode": "warn"}, log={"access": "sampled", "sample": "0"}
        ) as there:
            assert (await there.call("/gzip")).status == 200
            assert (await there.call("/v1/accounts")).status == 200
            assert there.count("policy_warnings") == 1
    (line,) = [entry for entry in logs if entry["event"] == "request"]
    assert (line["path"], line["policy"], line["log_level"]) == ("/gzip", "warned", "warning")


RESERVED = [
    "/oauth2/v1/token",
    "/oauth2/v1/revoke",
    "/v1/oauth/token",
    "/v1/auth-code",
    "/v1/client-authorization",
    "//oauth2/v1/token",
    "/OAuth2/v1/token",
    "/x/../oauth2/v1/token",
    "/x/%2e%2e/oauth2/v1/token",
    "/x/..;/oauth2/v1/token",
    "/%6fauth2/v1/token",
    "/%256fauth2/v1/token",
    "/oauth2%2fv1%2ftoken",
    "/oauth2;a=b/v1/token",
    "/oauth2/../echo",
    "/v1\\oauth\\token",
    "/v1/./oauth/token",
    "/digitalbanking/stage/oauth2/v1/token",
    "/digitalbanking/stage/../stage/oauth2/v1/token",
    "/%c1%afauth2/v1/token",
]


@pytest.mark.parametrize("base", ["", "/digitalbanking/stage"])
async def test_token_endpoints_are_refused_in_every_spelling(base: str) -> None:
    """However the path is written."""
    async with bank_fixture(Settings(base_path=base)) as there:
        before = len(there.grants)
        for path in RESERVED:
            for method in ("POST", "DELETE", "GET"):
                response = await raw(
                    there, f"{method} {path} HTTP/1.1", "Host: x", "Connection: close"
                )
                # A target must not contain a backslash (RFC 3986).
                status, name = (400, "target-character") if "\\" in path else (403, "reserved")
                assert response.startswith(b"HTTP/1.1 %d " % status), (path, response)
                assert f'urn:candescent-proxy:error:{name}"'.encode() in response
        assert there.bank.counts["arrivals"] == 0
        assert len(there.grants) == before
        assert not there.bank.revocations
