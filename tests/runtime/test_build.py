"""Components built from the configuration."""

import ssl
from pathlib import Path
from typing import Any

import pytest

from proxy.config import loader
from proxy.config.model import Config
from proxy.errors import ConfigError
from proxy.forwarding.access_policy import PolicyDecision
from proxy.forwarding.browser_policy import BrowserPolicy
from proxy.forwarding.user_context import UserContext
from proxy.runtime import build, clock
from proxy.sandbox import Sandbox
from proxy.tokens.cache import TokenCache
from proxy.tokens.refresh_policy import RefreshPolicy
from proxy.tokens.refresh_tokens import RefreshTokens
from proxy.tokens.token import TokenKey, TokenKind
from proxy.upstream.bank_client import USER_AGENT
from proxy.upstream.tunnel import OutboundProxy

V2 = TokenKey(TokenKind.V2, "00016")


def load(**changes: Any) -> Config:
    """Return a configuration for the sandbox with changes."""
    good = {
        "base_url": "http://127.0.0.1:1/digitalbanking/stage",
        "client_id": "sandbox-client",
        "client_secret": "sandbox-secret",
        "institution_id": "00016",
    }
    return loader.load(None, {}, good | changes)


def test_user_context_of_a_login() -> None:
    """It has the ids of the login; missing ones are empty."""
    login = load(login_id="acorn.owner", member_number="12-3456789")
    assert build.user_context(login) == UserContext("", "acorn.owner", "12-3456789", "")
    other = load(host_user_id="880017", institution_customer_id="7")
    assert build.user_context(other) == UserContext("880017", "", "", "7")


async def test_injector_exists_only_with_a_user_context() -> None:
    """Without one no query is parsed."""
    bank = build.bank_client(load(), load().origins[0], build.dialer(load().origins[0], None))
    tokens = TokenCache(
        build.endpoint(load(), loader.logins(load()), bank, RefreshTokens(clock.now), print),
        RefreshPolicy(),
        clock=clock.now,
        chance=lambda: 0.5,
        emit=lambda _: None,
    )
    config = load(institutions={"00017": {}})
    directory = build.directory(config, bank, tokens)
    assert build.users(config, config.listener_configs[0], directory) is None
    config = load(institutions={"00017": {"host_user_id": "9"}})
    users = build.users(config, config.listener_configs[0], directory)
    assert users is not None
    key = TokenKey(TokenKind.V2, "00017")
    named = await users.inject("GET", b"/a", b"/a", key, has_customer=False)
    assert named == (b"/a?hostUserId=9", None)


@pytest.mark.parametrize("host", ["0.0.0.0", "[::]"])  # noqa: S104 - compared
def test_address_for_all_is_no_allowed_host(host: str) -> None:
    """Unless ``allowed_hosts`` has it: in a browser it leads to this machine, without a check."""
    options = {"listen": f"{host}:8080", "admin": f"{host}:9090", "trust_network": True}
    policy = BrowserPolicy(build.hosts(load(**options)))
    assert not policy.allows_host(f"{host}:8080")
    assert policy.allows_host("localhost:8080")


def test_access_policy() -> None:
    """It has the configured lists and mode; without lists there is none."""
    assert build.access_policy(load().access).is_empty
    lists = {"allow": ["/v1/**"], "deny": [{"path": "/v1/transfers", "methods": "POST"}]}
    enforced = build.access_policy(load(access=lists).access)
    assert enforced.evaluate("POST", b"/v1/transfers") is PolicyDecision.REFUSED
    assert enforced.evaluate("GET", b"/v1/transfers") is PolicyDecision.ALLOWED
    warned = build.access_policy(load(access=lists | {"mode": "warn"}).access)
    assert warned.evaluate("GET", b"/v2") is PolicyDecision.WARNED


@pytest.mark.parametrize(
    ("base_url", "port", "host"),
    [
        ("http://bank.test", 80, b"bank.test"),
        ("http://bank.test:8081/x", 8081, b"bank.test:8081"),
        ("https://bank.test/x", 443, b"bank.test"),
        ("https://bank.test:8443", 8443, b"bank.test:8443"),
    ],
)
def test_origin_is_that_of_the_base_url(base_url: str, port: int, host: bytes) -> None:
    """Scheme, host and port of the base URL."""
    config = load(base_url=base_url, trust_network="true")
    tls = ssl.create_default_context() if base_url.startswith("https") else None
    origin = build.dialer(config.origins[0], tls).origin
    assert (origin.host, origin.port, origin.host_header) == ("bank.test", port, host)


def test_forwarder_settings() -> None:
    """The forwarder has institutions, replays and the correlation id setting."""
    config = load(
        allowed_institutions="00017",
        headers={"correlation_id": "false"},
        replay={"paths": ["/v1/idempotent"], "max_body": "100"},
    )
    reported = build.forwarding(config, config.listener_configs[0])
    assert reported.institution == "00016"
    assert reported.permitted_institutions == {"00016", "00017"}
    assert reported.correlation_id is False
    assert reported.replay.allows("POST", b"/v1/idempotent", 100)
    assert not reported.replay.allows("POST", b"/v1/transfers", 100)


def test_outbound_proxy(tmp_path: Path) -> None:
    """The password is in a file, the login is optional, and a missing file is an error."""
    assert build.outbound_proxy(load().origins[0]) is None
    plain = build.outbound_proxy(load(upstream={"proxy": "http://out.test:3128"}).origins[0])
    assert plain == OutboundProxy("out.test", 3128)
    file = tmp_path / "password"
    file.write_text("pass\n")
    upstream = {"proxy": "http://out.test:3128", "proxy_user": "me"}
    named = build.outbound_proxy(
        load(upstream=upstream | {"proxy_password_file": str(file)}).origins[0]
    )
    assert named == OutboundProxy("out.test", 3128, "me", "pass")
    gone = load(upstream=upstream | {"proxy_password_file": str(tmp_path / "gone")})
    with pytest.raises(ConfigError, match=r"^upstream.proxy_password_file: .* cannot be read"):
        build.outbound_proxy(gone.origins[0])


@pytest.mark.parametrize(
    ("v1", "expected"),
    [
        ({}, (USER_AGENT, None, None)),
        (
            {"user_agent": "iPhone/1.0/abc;Nokia3110", "originating_ip": "192.0.2.1"},
            ("iPhone/1.0/abc;Nokia3110", "192.0.2.1", None),
        ),
        (
            {"originating_ip": "2001:db8::1", "offering_id": "offer"},
            (USER_AGENT, "2001:db8::1", "offer"),
        ),
    ],
)
async def test_token_endpoint_settings(
    v1: dict[str, str], expected: tuple[str | None, ...]
) -> None:
    """V1 token calls have a User-Agent, and optional fields where they are set."""
    async with Sandbox() as sandbox:
        config = load(base_url=sandbox.url, v1=v1)
        bank = build.bank_client(config, config.origins[0], build.dialer(config.origins[0], None))
        endpoint = build.endpoint(
            config, loader.logins(config), bank, RefreshTokens(clock.now), print
        )
        await endpoint.token(TokenKey(TokenKind.V1, "00016"))
        await bank.close()
    headers = {k.lower().decode(): v.decode() for k, v in sandbox.bank.token_requests[-1].headers}
    names = ("user-agent", "originating_ip", "offering_id")
    assert tuple(headers.get(name) for name in names) == expected


def test_refresh_tokens_of_a_listener_are_apart_from_the_start(tmp_path: Path) -> None:
    """A reload may give it a login: its user's are not written into the main file."""
    file = tmp_path / "main.json"
    config = load(refresh_token_file=file, listeners={"kiosk": {"listen": "127.0.0.1:8091"}})
    tokens = build.refresh_tokens(config)
    tokens.keep(TokenKey(TokenKind.V2, "00016", subject="kiosk"), "hers", 100)
    assert not file.exists()
