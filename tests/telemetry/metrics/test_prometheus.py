"""A real Prometheus and promtool with a real proxy's metrics."""

import asyncio
import time
from pathlib import Path

import aiohttp

from proxy.runtime.app import App
from proxy.sandbox import Sandbox
from tests.observability.servers import prometheus
from tests.observability.servers import until as until_answered
from tests.support.needs import program
from tests.support.running import running, url
from tests.telemetry.metrics.documented import metrics

OURS = "candescent_proxy_"
SLOW = "350ad2db-7117-413e-93b0-9c2909a6ab6d"
CLASSIC = {"Accept": "text/plain;version=0.0.4"}


async def call(app: App, path: str = "/echo", **headers: str) -> None:
    """Send a request through the proxy."""
    async with aiohttp.request("GET", url(app) + path, headers=headers) as response:
        await response.read()


async def test_promtool_lint_is_clean() -> None:
    """Names, types, units and texts of the admin port's response."""
    promtool = program("promtool")
    async with Sandbox() as bank, running(bank) as app:
        for path in ("/echo", "/oauth2/v1/token", "/status/503"):
            await call(app, path)
        bank.bank.expire_all()
        await call(app)
        address = f"http://{app.admin_address}/metrics"
        async with aiohttp.request("GET", address, headers=CLASSIC) as response:
            exposition = await response.read()
    process = await asyncio.create_subprocess_exec(
        *(promtool, "check", "metrics"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate(exposition)
    assert (process.returncode, said.decode()) == (0, "")


async def test_prometheus_reads_all_series_and_exemplars(tmp_path: Path) -> None:
    """It requests OpenMetrics; a slow bucket has its transaction id."""
    async with Sandbox() as bank, running(bank) as app:
        await call(app, transactionId='an "odd" one\\')
        await call(app, transactionId=SLOW)
        targets = {"test": [str(app.admin_address)]}
        async with prometheus(tmp_path, {}, targets, None, 0, "exemplar-storage") as server:
            duration = "candescent_proxy_request_duration_seconds_bucket"

            async def is_there() -> bool:
                span = {"start": str(time.time() - 60), "end": str(time.time() + 60)}
                found = await server.get("query_exemplars", query=duration, **span)
                exemplars = [one for series in found for one in series["exemplars"]]
                return {"transactionId": SLOW} in [one["labels"] for one in exemplars]

            assert await until_answered(is_there, 20)
            assert [value for _, value in await server.query("up")] == [1]
            known = await server.get("metadata")
            types = {
                name: about[0]["type"] for name, about in known.items() if name.startswith(OURS)
            }
            assert types == {
                name.removesuffix("_total"): line.type
                for name, line in metrics().items()
                if not name.startswith(f"{OURS}store_")
            }
