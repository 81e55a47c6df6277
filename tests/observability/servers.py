"""Prometheus and Alertmanager as processes on free ports."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import yaml

from tests.support.needs import program
from tests.support.running import DEADLINE

SCRAPE = 1.0
"""Scrape and evaluation interval in seconds."""

Sample = tuple[Mapping[str, str], float]


@dataclass(frozen=True)
class Prometheus:
    """A running Prometheus. ``url`` is its address."""

    url: str

    async def get(self, path: str, **parameters: str) -> Any:
        """Query its API; return the data. Raises ``AssertionError`` with the error message."""
        address = f"{self.url}/api/v1/{path}"
        async with aiohttp.request("GET", address, params=parameters) as response:
            document = await response.json()
        assert document["status"] == "success", f"{parameters}: {document.get('error')}"
        return document["data"]

    async def query(self, expr: str) -> list[Sample]:
        """Return the current values of an expression's series."""
        found = (await self.get("query", query=expr))["result"]
        return [(one["metric"], float(one["value"][1])) for one in found]

    async def series(
        self, expr: str, start: float, end: float, step: float
    ) -> list[tuple[Mapping[str, str], list[tuple[float, float]]]]:
        """Return the series of an expression from ``start`` to ``end`` in Unix time."""
        span = {"start": str(start), "end": str(end), "step": str(step)}
        found = (await self.get("query_range", query=expr, **span))["result"]
        return [
            (one["metric"], [(at, float(value)) for at, value in one["values"]]) for one in found
        ]

    async def has_fired(self) -> list[Mapping[str, str]]:
        """Return the labels of all alerts that have fired within the hour."""
        found = await self.query('last_over_time(ALERTS{alertstate="firing"}[1h])')
        return [labels for labels, _ in found]

    async def firing(self) -> list[dict[str, Any]]:
        """Return the firing alerts with labels and texts."""
        alerts = (await self.get("alerts"))["alerts"]
        return [one for one in alerts if one["state"] == "firing"]


async def until(condition: Callable[[], Awaitable[bool]], seconds: float) -> bool:
    """Wait for a condition, up to some seconds; return whether it holds."""
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    while not await condition():
        if loop.time() > end:
            return False
        await asyncio.sleep(SCRAPE / 2)
    return True


@dataclass(frozen=True)
class Alertmanager:
    """A running Alertmanager. ``url`` is its address."""

    url: str

    async def alerts(self) -> list[dict[str, Any]]:
        """Return its alerts."""
        async with aiohttp.request("GET", f"{self.url}/api/v2/alerts") as response:
            return list(await response.json())


@asynccontextmanager
async def prometheus(
    folder: Path,
    rules: Mapping[str, Any],
    targets: Mapping[str, Sequence[str]],
    alertmanager: Alertmanager | None = None,
    port: int = 0,
    *features: str,
) -> AsyncIterator[Prometheus]:
    """Start a Prometheus that scrapes ``targets`` (addresses by namespace) and evaluates ``rules``.

    ``features`` are feature flags of Prometheus.
    """
    _write(folder / "rules.yaml", rules)
    ours = [{"targets": [alertmanager.url.partition("//")[2]]}] if alertmanager else []
    _write(
        folder / "prometheus.yaml",
        {
            "global": {
                "scrape_interval": f"{SCRAPE * 1000:.0f}ms",
                "evaluation_interval": f"{SCRAPE * 1000:.0f}ms",
            },
            "rule_files": [str(folder / "rules.yaml")],
            "alerting": {"alertmanagers": [{"static_configs": ours}]},
            "scrape_configs": [
                {
                    "job_name": "candescent-proxy",
                    "static_configs": [
                        {"targets": list(addresses), "labels": {"namespace": namespace}}
                        for namespace, addresses in targets.items()
                    ],
                }
            ],
        },
    )
    command = (
        program("prometheus"),
        f"--config.file={folder / 'prometheus.yaml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        "--storage.tsdb.retention.time=1d",
        f"--web.listen-address=127.0.0.1:{port}",
        "--log.format=json",
        *(f"--enable-feature={feature}" for feature in features),
    )
    async with _server(*command) as url:
        yield Prometheus(url)


@asynccontextmanager
async def alertmanager(folder: Path, config: Path, port: int = 0) -> AsyncIterator[Alertmanager]:
    """Start an Alertmanager with the configuration in a file."""
    command = (
        program("prometheus-alertmanager"),
        f"--config.file={config}",
        f"--storage.path={folder}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--cluster.listen-address=",
        "--log.format=json",
    )
    async with _server(*command) as url:
        yield Alertmanager(url)


def _write(file: Path, document: Mapping[str, Any]) -> None:
    file.parent.mkdir(exist_ok=True)
    file.write_text(yaml.safe_dump(dict(document), sort_keys=False), encoding="utf-8")


@asynccontextmanager
async def _server(*command: str) -> AsyncIterator[str]:
    """Start a server that logs its address as JSON; yield its URL."""
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
    )
    assert process.stderr is not None
    said: list[str] = []
    draining = None
    try:
        async with asyncio.timeout(DEADLINE):
            url = await _address(process.stderr, said)
            await _ready(url)
        draining = asyncio.create_task(_drain(process.stderr))
        yield url
    except TimeoutError:
        raise AssertionError(f"{command[0]} did not start:\n" + "\n".join(said[-10:])) from None
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        if draining is not None:
            await draining


async def _address(log: asyncio.StreamReader, said: list[str]) -> str:
    while line := await log.readline():
        said.append(line.decode())
        reported = json.loads(line)
        if reported.get("msg") == "Listening on":
            return f"http://{reported['address']}"
    raise AssertionError("it ended:\n" + "".join(said[-10:]))


async def _ready(url: str) -> None:
    async with aiohttp.ClientSession() as client:
        while True:
            async with client.get(f"{url}/-/ready") as response:
                if response.status == 200:
                    return
            await asyncio.sleep(0.02)


async def _drain(log: asyncio.StreamReader) -> None:
    while await log.readline():
        pass
