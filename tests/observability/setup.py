"""A bank, proxies as processes in front of it, and clients that send requests without pause."""

import asyncio
import random
import uuid
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from proxy.sandbox import Sandbox, Settings
from tests.support.certificates import OpensslAuthority
from tests.support.mounted_files import write
from tests.support.process import RunningProxy, process, write_settings
from tests.support.redis_server import RedisServer
from tests.support.running import CLIENT
from tests.tokens.fleet.encryption_keys import write_key

LIFETIME = 12.0
"""Token lifetime in seconds; the proxy refreshes a token at half of it."""

INSTITUTIONS = ("00016", "00021", "00022", "00023", "00024")
"""The institutions of every proxy; the first is its own: see ``MonitoredProxy.institutions``."""

MOST = 40
"""The proxy's ``max_in_flight``."""

# Delays and margins are divided like the durations of the alerts in faster.py.
SETTINGS: Mapping[str, Any] = {
    "reload_interval": "0.2",
    "limits": {"max_in_flight": str(MOST)},
    "token": {
        "prefetch": ["v2", "v1"],
        "timeout": "5",
        "margin_min": "6",
        "margin_max": "6",
        "jitter_max": "0.5",
        "min_interval": "0.2",
        "backoff_initial": "0.2",
        "backoff_max": "1",
        "throttle_initial": "0.5",
        "throttle_max": "5",
        "refusal_memory": "1",
    },
}


@dataclass
class MonitoredProxy:
    """One proxy, its settings and its files.

    ``institutions`` are the permitted ones, its own first. Only proxies that share tokens through
    ``store`` have the same, so that a fault of one institution affects one proxy.
    """

    name: str
    institutions: tuple[str, ...]
    folder: Path
    settings: dict[str, Any]
    bank_url: str
    authority: OpensslAuthority | None = None
    store: RedisServer | None = None
    running: RunningProxy = field(init=False)

    @property
    def url(self) -> str:
        """The URL of its data port."""
        return f"http{'s' if self.authority else ''}://{self.running.listen}"

    @property
    def secret(self) -> Path:
        """The file with its client secret."""
        return self.folder / "secret"

    def write(self, **changes: Any) -> None:
        """Change settings in its configuration file."""
        write_settings(self.folder / "proxy.yaml", self.bank_url, **{**self.settings, **changes})

    def certify(self, days: int) -> None:
        """Give it a certificate that is valid for some days."""
        assert self.authority is not None
        self.authority.issue("localhost", "IP:127.0.0.1", days=str(days), file=f"{self.name}-leaf")

    @asynccontextmanager
    async def running_proxy(self) -> AsyncIterator[None]:
        """Run the proxy within the block."""
        write(self.secret, CLIENT["client_secret"])
        file = self.folder / "proxy.yaml"
        async with process(file, self.bank_url, **self.settings) as self.running:
            yield


def monitored_proxy(
    folder: Path,
    name: str,
    number: int,
    bank: Sandbox,
    *,
    tls: bool = False,
    store: RedisServer | None = None,
) -> MonitoredProxy:
    """Prepare a proxy with this name; ``number`` determines its institutions."""
    folder.mkdir()
    institutions = tuple(f"{number:02}{institution[2:]}" for institution in INSTITUTIONS)
    written: dict[str, Any] = {
        **SETTINGS,
        "institution_id": institutions[0],
        "allowed_institutions": list(institutions[1:]),
        "client_id": CLIENT["client_id"],
        "client_secret_file": str(folder / "secret"),
        "log": {"format": "json", "sample": "0", "access_file": str(folder / "access.log")},
    }
    if store is not None:
        keys = write_key(folder / "encryption-keys")
        written["store"] = {"url": store.url, "encryption_key_file": str(keys)}
    made = MonitoredProxy(name, institutions, folder, written, bank.url, store=store)
    if tls:
        made.authority = OpensslAuthority.make(folder)
        made.certify(90)
        written["callers"] = {"certificate_file": str(folder / f"{name}-leaf.pem")}
    return made


def bank_for(proxies: int) -> Sandbox:
    """Return a bank that has the institutions of ``proxies`` proxies."""
    known = [f"{number:02}{name[2:]}" for number in range(proxies) for name in INSTITUTIONS]
    return Sandbox(Settings(institutions=tuple(known), lifetime=LIFETIME, v1_lifetime=LIFETIME))


@asynccontextmanager
async def running_proxies(proxies: Iterable[MonitoredProxy]) -> AsyncIterator[None]:
    """Start proxies concurrently, a few at a time."""
    few = asyncio.Semaphore(3)
    async with AsyncExitStack() as stack:

        async def start(one: MonitoredProxy) -> None:
            async with few:
                await stack.enter_async_context(one.running_proxy())

        await asyncio.gather(*map(start, proxies))
        yield


class BackgroundCallers:
    """Clients of a proxy that pause for at most ``rest`` seconds between requests.

    ``hostile`` is the share of requests that cannot be forwarded. Responses are not checked,
    because these tests check metrics and alerts.
    """

    def __init__(
        self,
        proxy: MonitoredProxy,
        count: int = 2,
        *,
        rest: float = 0.2,
        hostile: float = 0.0,
        path: str = "/echo/well",
        institution: str | None = None,
    ) -> None:
        self._player = proxy
        self._count = count
        self._rest = rest
        self._hostile = hostile
        self._path = path
        self._institution = institution
        self._random = random.Random(count)  # noqa: S311 - a choice of requests, not a secret

    @asynccontextmanager
    async def calling(self) -> AsyncIterator[None]:
        """Send requests within the block."""
        trusting = aiohttp.TCPConnector(ssl=False, limit=0)
        async with aiohttp.ClientSession(self._player.url, connector=trusting) as session:
            tasks = [asyncio.create_task(self._call(session)) for _ in range(self._count)]
            try:
                yield
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    async def _call(self, session: aiohttp.ClientSession) -> None:
        while True:
            with suppress(aiohttp.ClientError, TimeoutError):
                await self._send_request(session)
            await asyncio.sleep(self._random.random() * self._rest)

    async def _send_request(self, session: aiohttp.ClientSession) -> None:
        institution = self._institution or self._player.institutions[0]
        more: dict[str, Any] = {
            "headers": {"institutionId": institution, "transactionId": str(uuid.uuid4())},
            "timeout": aiohttp.ClientTimeout(total=20),
        }
        chance = self._random.random()
        if chance < self._hostile:
            method, path = "POST", "/oauth2/v1/token"
        elif chance > 0.8:
            method, path = "POST", "/v1/transfers"
            more["json"] = {"amount": "12.50"}
        elif chance > 0.6:
            method, path = "GET", f"/subscriptions/v1/fis/{institution}{self._path}"
        else:
            method, path = "GET", self._path
        async with session.request(method, path, **more) as response:
            await response.read()
