"""A client, the proxy and its bank, over sockets: the fixture of this directory."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import aiohttp
from prometheus_client.parser import text_string_to_metric_families
from yarl import URL

from proxy.runtime.app import App
from proxy.sandbox import Arrival, Bank, Fault, Sandbox, Settings
from tests.support.running import DEADLINE, running, url

V1_PATH = "/subscriptions/v1/fis/{}/echo"
EVENT = b"<event><type>LOGIN</type></event>"
CUSTOMER = "5f1d7a8e-0c54-4b1e-9d0a-6f2f6f7c1a01"
PASSWORD: dict[str, Any] = {"username": "juniper", "password": "moonlight"}
# A token can be rejected at any age, and all back-offs are short.
HASTY: dict[str, Any] = {
    "token": {"min_interval": "0.001", "refusal_memory": "0.1", "throttle_initial": "0.2"}
}


@dataclass
class CallerResponse:
    """The response to a client."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """Return the parsed body."""
        return json.loads(self.body)

    @property
    def error(self) -> str:
        """Source and name of the proxy's error."""
        name = self.json()["type"].rpartition(":")[2]
        return f"{self.headers['x-proxy-error-source']} {name}"


@dataclass
class BankFixture:
    """A client, the proxy and its bank."""

    sandbox: Sandbox
    app: App
    session: aiohttp.ClientSession

    @property
    def bank(self) -> Bank:
        """The state of the bank."""
        return self.sandbox.bank

    @property
    def grants(self) -> list[tuple[str, str]]:
        """Grant and outcome of each token request."""
        return [(asked.grant, asked.outcome) for asked in self.bank.token_requests]

    async def call(
        self, path: str, method: str = "GET", body: Any = None, **headers: str
    ) -> CallerResponse:
        """Send a request without changing its path."""
        target = URL(url(self.app) + path, encoded=True)
        async with self.session.request(method, target, data=body, headers=headers) as response:
            return CallerResponse(response.status, dict(response.headers), await response.read())

    async def echo(self, path: str = "/echo", **headers: str) -> dict[str, Any]:
        """Return the request as received by the bank; header names in lower case."""
        response = await self.call(path, **headers)
        assert response.status == 200, response.body
        seen: dict[str, Any] = response.json()
        seen["headers"] = [(name.lower(), value) for name, value in seen["headers"]]
        return seen

    def count(self, name: str, **labels: str) -> float:
        """Return the sum of a counter's series with these labels."""
        text, _ = self.app.metrics.exposition("")
        return sum(
            sample.value
            for family in text_string_to_metric_families(text.decode())
            for sample in family.samples
            if sample.name == f"candescent_proxy_{name}_total"
            and labels.items() <= sample.labels.items()
        )


@asynccontextmanager
async def bank_fixture(
    rules: Settings | Sandbox | None = None, *faults: Fault, ready: bool = True, **overrides: Any
) -> AsyncIterator[BankFixture]:
    """Start a bank with these rules and faults, and a proxy with these settings.

    A ``Sandbox`` in place of rules is used as it is and stays running.
    """
    async with nullcontext(rules) if isinstance(rules, Sandbox) else Sandbox(rules) as sandbox:
        sandbox.bank.faults.extend(faults)
        async with (
            running(sandbox, ready=ready, **HASTY | overrides) as app,
            aiohttp.ClientSession(auto_decompress=False) as session,
        ):
            yield BankFixture(sandbox, app, session)


def arrivals_at(bank: Bank, path: str) -> list[Arrival]:
    """Return the received requests below a path, oldest first."""
    return [arrival for arrival in bank.arrivals if arrival.target.startswith(path)]


async def raw(there: BankFixture, *lines: str) -> bytes:
    """Send a raw request head; return all received bytes."""
    address = there.app.data_address
    reader, writer = await asyncio.open_connection(address.host, address.port)
    writer.write("\r\n".join((*lines, "", "")).encode())
    async with asyncio.timeout(DEADLINE):
        response = await reader.read()
    writer.close()
    return response
