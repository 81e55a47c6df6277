"""A proxy that reads its configuration from a file, in front of a sandbox bank, in one process."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import aiohttp
import yaml
from prometheus_client.parser import text_string_to_metric_families

from proxy.admin import readiness
from proxy.config import loader
from proxy.config.model import Config
from proxy.runtime.app import App
from proxy.sandbox import Sandbox, changed
from proxy.tokens.credentials import Logins
from tests.support.captured_log import CapturedLog, captured_log
from tests.support.mounted_files import write
from tests.support.running import CLIENT, until, url

QUICK = "0.02"
"""A short ``reload_interval`` in seconds."""


@dataclass
class ProxyFixture:
    """A running proxy, its bank, a client session, the proxy's log, and its configuration file."""

    bank: Sandbox
    app: App
    caller: aiohttp.ClientSession
    log: CapturedLog
    file: Path
    settings: dict[str, Any]

    async def call(self, path: str = "/echo", **more: Any) -> int:
        """Send a request; return the status of the response."""
        method = more.pop("method", "GET")
        async with self.caller.request(method, path, **more) as response:
            await response.read()
            return response.status

    async def admin(self, path: str, method: str = "GET") -> tuple[int, Any]:
        """Send a request to the admin port; return status, and document or text."""
        address = f"http://{self.app.admin_address}{path}"
        async with aiohttp.request(method, address) as response:
            is_json = response.content_type == "application/json"
            return response.status, await (response.json() if is_json else response.text())

    def write(self, **changes: Any) -> None:
        """Change settings in the configuration file; None removes one."""
        self.settings = {
            name: value for name, value in (self.settings | changes).items() if value is not None
        }
        write(self.file, yaml.safe_dump(self.settings))

    def reloads(self, result: str) -> float:
        """Return how many reloads ended with this result, ``success`` or ``failure``."""
        return sample(self.app, "candescent_proxy_reloads_total", result=result)

    @property
    def is_current(self) -> bool:
        """Whether the last reload succeeded, according to the metric."""
        return sample(self.app, "candescent_proxy_last_reload_successful") == 1

    def warnings(self) -> list[str]:
        """Return the warnings of ``/readyz``."""
        return readiness.warnings(self.app.readiness(), self.app.conditions())

    def rotate(self, **clients: str) -> None:
        """Replace the bank's clients by these, id to secret; ``_`` in an id stands for ``-``."""
        known = {name.replace("_", "-"): secret for name, secret in clients.items()}
        self.bank.bank.settings = changed(self.bank.bank.settings, {"clients": known})

    async def wait_for_reload(self, times: int = 1) -> None:
        """Wait until ``times`` reloads have succeeded."""
        await until(lambda: self.reloads("success") >= times)

    async def wait_for_failed_reload(self, times: int = 1) -> None:
        """Wait until ``times`` reloads have failed."""
        await until(lambda: self.reloads("failure") >= times)


@asynccontextmanager
async def proxy_fixture(
    file: Path, bank: Sandbox | None = None, *, ready: bool = True, **written: Any
) -> AsyncIterator[ProxyFixture]:
    """Start a proxy with these settings, and a bank unless a running one is given."""
    if bank is None:
        async with Sandbox() as own, proxy_fixture(file, own, ready=ready, **written) as fixture:
            yield fixture
        return
    everything = {**base(bank), **written}
    with captured_log() as log:
        write(file, yaml.safe_dump(everything))
        app = app_from(file)
        await app.start()
        try:
            async with aiohttp.ClientSession(url(app)) as caller:
                if ready:
                    await until(lambda: app.readiness().is_ready)
                yield ProxyFixture(bank, app, caller, log, file, everything)
        finally:
            await app.stop()


def base(bank: Sandbox) -> dict[str, Any]:
    """Return settings for a proxy in front of ``bank``, as in a configuration file."""
    return {
        "base_url": bank.url,
        "allowed_hosts": "*",
        "institution_id": "00016",
        "client_id": CLIENT["client_id"],
        "listen": "127.0.0.1:0",
        "admin": "127.0.0.1:0",
        "grace_period": "2",
        "reload_interval": QUICK,
        "log": {"access": "on"},
    }


def app_from(file: Path) -> App:
    """Return a proxy that is configured by ``file`` and can reload it."""

    def reread() -> tuple[Config, Logins]:
        config = loader.load(file, {}, {})
        return config, loader.logins(config)

    config, logins = reread()
    return App(config, logins, reread, file)


def sample(app: App, name: str, **labels: str) -> float:
    """Return the sum of a metric's series with these labels; 0 without any."""
    text, _ = app.metrics.exposition("")
    return sample_in(text.decode(), name, labels)


def sample_in(text: str, name: str, labels: Mapping[str, str]) -> float:
    """Return the sum of a metric's series with these labels, in the text of ``/metrics``."""
    return sum(
        found.value
        for family in text_string_to_metric_families(text)
        for found in family.samples
        if found.name == name and found.labels.items() >= labels.items()
    )


class BackgroundLoad:
    """Clients that send requests without pause; ``statuses`` counts their results."""

    def __init__(self, fixture: ProxyFixture, callers: int = 8, path: str = "/echo") -> None:
        self._home = fixture
        self._callers = callers
        self._path = path
        self._over = False
        self.statuses: dict[int | str, int] = {}

    async def __aenter__(self) -> Self:
        """Start the clients."""
        self._tasks = [asyncio.create_task(self._call()) for _ in range(self._callers)]
        await until(lambda: self.total > self._callers)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop after each client has sent four more requests on average."""
        seen = self.total
        await until(lambda: self.total > seen + 4 * self._callers)
        self._over = True
        await asyncio.gather(*self._tasks)

    @property
    def total(self) -> int:
        """Return the number of results."""
        return sum(self.statuses.values())

    async def _call(self) -> None:
        while not self._over:
            outcome: int | str
            try:
                outcome = await self._home.call(self._path)
            except aiohttp.ClientError as error:
                outcome = type(error).__name__
            self.statuses[outcome] = self.statuses.get(outcome, 0) + 1
