"""A core, and what its replacement takes over and verifies."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from proxy.config import loader
from proxy.errors import ConfigError, TokenError, kinds
from proxy.forwarding.record import RequestRecord
from proxy.runtime import clock
from proxy.runtime.core import Core
from proxy.sandbox import Fault, Sandbox
from proxy.telemetry.events import Event, InternalError, OperatorWarning
from proxy.telemetry.observers import Observers
from proxy.tokens.refresh_tokens import RefreshTokens
from proxy.tokens.token import TokenKey, TokenKind
from proxy.upstream.resolver import Resolver
from tests.support.running import CLIENT, until

MAIN = TokenKey(TokenKind.V2, "00016")
OTHER = TokenKey(TokenKind.V2, "00017")


@dataclass
class CoreHarness:
    """Builds cores one after another in front of one bank."""

    bank: Sandbox
    refresh_tokens: RefreshTokens = field(default_factory=lambda: RefreshTokens(clock.now))
    cores: list[Core] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    records: list[RequestRecord] = field(default_factory=list)

    def build(self, **changes: Any) -> Core:
        """Build a core; None removes a setting."""
        flags = {"base_url": self.bank.url, "institution_id": "00016", **CLIENT, **changes}
        config = loader.load(None, {}, {k: v for k, v in flags.items() if v is not None})
        observers = Observers([self])
        core = Core(config, loader.logins(config), observers, self.refresh_tokens, Resolver())
        self.cores.append(core)
        return core

    async def run(self, **changes: Any) -> Core:
        """Build a core, start it, and wait for its first token."""
        core = self.build(**changes)
        core.start()
        await until(lambda: core.tokens.current(MAIN))
        return core

    @property
    def warnings(self) -> list[str]:
        """The texts of the operator warnings."""
        return [event.text for event in self.events if isinstance(event, OperatorWarning)]

    @property
    def requested_institutions(self) -> list[str]:
        """The institutions for which tokens were requested from the bank."""
        return [request.institution for request in self.bank.bank.token_requests]

    def event(self, event: Event) -> None:
        """Record an event; an internal error fails the test."""
        if isinstance(event, InternalError):
            raise event.error
        self.events.append(event)

    def request(self, record: RequestRecord) -> None:
        """Record a finished request."""
        self.records.append(record)


@pytest.fixture
async def harness() -> AsyncIterator[CoreHarness]:
    """A harness with its bank."""
    async with Sandbox() as bank:
        harness = CoreHarness(bank)
        yield harness
        for core in harness.cores:
            await core.close()


async def test_unchanged_login_keeps_its_token(harness: CoreHarness) -> None:
    """Changing another setting causes no token request."""
    running = await harness.run()
    successor = harness.build(allowed_institutions="00017")
    await successor.verify(running)
    assert harness.requested_institutions == ["00016"]
    assert successor.tokens.current(MAIN) is running.tokens.current(MAIN)


async def test_changed_secret_is_verified(harness: CoreHarness) -> None:
    """The new secret is sent once, and the resulting token is used."""
    running = await harness.run()
    harness.bank.bank.settings = harness.bank.bank.settings.__class__(
        clients={"sandbox-client": "other"}
    )
    successor = harness.build(client_secret="other")
    await successor.verify(running)
    assert harness.requested_institutions == ["00016", "00016"]
    token = successor.tokens.current(MAIN)
    assert token is not None
    assert token is not running.tokens.current(MAIN)


async def test_each_changed_login_is_verified(harness: CoreHarness) -> None:
    """One refused login refuses the change."""
    running = await harness.run()
    good = harness.build(institutions={"00017": {**CLIENT}})
    await good.verify(running)
    assert harness.requested_institutions == ["00016", "00017"]
    bad = harness.build(institutions={"00017": {**CLIENT, "client_secret": "wrong"}})
    with pytest.raises(TokenError) as refused:
        await bad.verify(good)
    assert refused.value.reason is kinds.TOKEN_BAD_CLIENT
    assert harness.requested_institutions == ["00016", "00017", "00017"]


async def test_changed_default_institution_is_verified(harness: CoreHarness) -> None:
    """The credentials may not be valid for another institution."""
    running = await harness.run()
    with pytest.raises(TokenError) as refused:
        await harness.build(institution_id="99999").verify(running)
    assert refused.value.reason is kinds.TOKEN_BAD_INSTITUTION
    successor = harness.build(institution_id="00017")
    await successor.verify(running)
    assert successor.tokens.current(OTHER) is not None
    assert successor.tokens.current(MAIN) is None, "an institution that is no longer allowed"


async def test_tokens_of_another_client_are_dropped(harness: CoreHarness) -> None:
    """A token belongs to the client id that got it."""
    harness.bank.bank.settings = harness.bank.bank.settings.__class__(
        clients={CLIENT["client_id"]: CLIENT["client_secret"], "second": "secret"}
    )
    running = await harness.run(allowed_institutions="00017")
    await running.tokens.token(OTHER)
    successor = harness.build(
        client_id="second", client_secret="secret", allowed_institutions="00017"
    )
    await successor.verify(running)
    assert successor.tokens.current(OTHER) is None
    token = successor.tokens.current(MAIN)
    assert token is not None
    assert harness.bank.bank.tokens[token.text].client == "second"


async def test_tokens_of_another_bank_are_dropped(harness: CoreHarness) -> None:
    """A token goes to its own origin only."""
    running = await harness.run()
    async with Sandbox() as elsewhere:
        successor = harness.build(base_url=elsewhere.url)
        await successor.verify(running)
        token = successor.tokens.current(MAIN)
        assert token is not None
        assert token.text in elsewhere.bank.tokens


async def test_changed_outbound_proxy_is_verified(harness: CoreHarness) -> None:
    """An unusable outbound proxy is found before the switch."""
    running = await harness.run()
    successor = harness.build(upstream={"proxy": "http://127.0.0.1:9"})
    with pytest.raises(TokenError, match="outbound proxy cannot be reached"):
        await successor.verify(running)


async def test_login_by_code_is_not_verified(harness: CoreHarness, tmp_path: Path) -> None:
    """Verifying would spend the only refresh token."""
    running = await harness.run()
    successor = harness.build(
        grant="authorization_code", refresh_token_file=str(tmp_path / "tokens")
    )
    await successor.verify(running)
    assert harness.requested_institutions == ["00016"]
    assert successor.tokens.current(MAIN) is None


async def test_static_token_causes_a_warning(harness: CoreHarness) -> None:
    """The operator is warned that it is not renewed."""
    core = harness.build(bearer_token="given-by-hand", client_id=None, client_secret=None)
    assert (await core.tokens.token(MAIN)).text == "given-by-hand"
    assert "never refreshed" in harness.warnings[0]
    assert harness.requested_institutions == []


async def test_all_tokens_are_revoked(harness: CoreHarness) -> None:
    """All live V2 tokens are revoked; a warning says that V1 tokens cannot be."""
    core = await harness.run(allowed_institutions="00017")
    await core.tokens.token(OTHER)
    await core.tokens.token(TokenKey(TokenKind.V1, "00016"))
    await core.revoke_all()
    assert len(harness.bank.bank.revocations) == 2
    assert [token.generation for token in harness.bank.bank.live_tokens()] == ["V1"]
    assert "v1:00016 not revoked" in harness.warnings[0]


async def test_fetch_during_revocation_yields_no_token(harness: CoreHarness) -> None:
    """A token that arrives meanwhile is not left unrevoked."""
    core = await harness.run()
    harness.bank.bank.faults.append(Fault("token", delay=0.2))
    entry = next(core.tokens.entries())
    core.tokens.start_refresh(entry)
    await asyncio.sleep(0)
    await core.revoke_all()
    assert entry.fetch is None or entry.fetch.done()
    assert len(harness.bank.bank.revocations) == 1


async def test_failed_revocation_is_reported(harness: CoreHarness) -> None:
    """It does not stop the shutdown."""
    core = await harness.run()
    harness.bank.bank.faults.append(Fault("revoke", status=500))
    await core.revoke_all()
    assert "v2:00016 not revoked" in harness.warnings[0]


async def test_retired_core_refreshes_nothing(harness: CoreHarness) -> None:
    """Its successor renews the tokens."""
    core = await harness.run(token={"margin_min": "0.1"})
    await core.wait_idle()
    entry = next(core.tokens.entries())
    assert entry.token is not None
    entry.refresh_age = 0.0
    core.tokens.on_change()
    await asyncio.sleep(0.05)  # longer than the refresher's period
    assert harness.requested_institutions == ["00016"]


@contextmanager
def config_error(setting: str) -> Iterator[None]:
    """Expect a ConfigError about this setting."""
    with pytest.raises(ConfigError) as caught:
        yield
    assert [setting in mistake for mistake in caught.value.errors] == [True]


async def test_missing_files_are_named(harness: CoreHarness, tmp_path: Path) -> None:
    """A core is not built with missing files."""
    missing = str(tmp_path / "missing")
    https = {"base_url": "https://bank.test"}
    with config_error("upstream.ca_file"):
        harness.build(**https, upstream={"ca_file": missing})
    with config_error("upstream.certificate_file"):
        harness.build(**https, upstream={"certificate_file": missing})
    with config_error("upstream.proxy_password_file"):
        harness.build(
            upstream={
                "proxy": "http://x:1",
                "proxy_user": "u",
                "proxy_password_file": missing,
            }
        )
    with config_error("callers.secret_files.1"):
        present = tmp_path / "present"
        present.write_text("secret")
        harness.build(callers={"secret_files": [str(present), missing]})
