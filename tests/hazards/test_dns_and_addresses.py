"""Dead addresses and faulty name servers, with the system's resolver and a firewall.

Each scenario runs in a network of its own (``tests/support/own_network.py``).
"""

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from proxy.cli.doctor.network import NetworkCheck
from proxy.runtime.app import App
from proxy.sandbox import Sandbox
from proxy.upstream.dialer import UpstreamOrigin
from proxy.upstream.tunnel import OutboundProxy
from proxy.upstream.upstream_settings import UpstreamSettings
from tests.support.connect_proxy import ConnectProxy
from tests.support.dns_server import DnsServer
from tests.support.own_network import drop, dropped, run_alone
from tests.support.proxy_fixture import sample
from tests.support.running import running, until, url

NAME = "bank.test"
ADDRESSES = ["192.0.2.1", "192.0.2.2"]


@asynccontextmanager
async def bank_on_every_address() -> AsyncIterator[int]:
    """Run a bank; return its port."""
    bank = Sandbox()
    await bank.start(host="0.0.0.0")  # noqa: S104 - of a network without others
    try:
        yield int(bank.url.rpartition(":")[2])
    finally:
        await bank.stop()


async def in_order(name: str) -> list[str]:
    """Return the addresses of a name in the system's order."""
    found = await asyncio.to_thread(socket.getaddrinfo, name, 80, type=socket.SOCK_STREAM)
    return [str(info[4][0]) for info in found]


async def ask(app: App) -> int:
    """Send a request; return the status of the response."""
    async with aiohttp.request("GET", f"{url(app)}/echo") as response:
        await response.read()
        return response.status


async def doctor(port: int, proxy: OutboundProxy | None = None, **settings: Any) -> list[str]:
    """Return level, cause and text of the doctor's results for the connection."""
    origin = UpstreamOrigin(NAME, port, None, proxy)
    check = NetworkCheck(origin, UpstreamSettings(**settings), "", {}, time.time)
    return [f"{result.level} {result.cause} {result.text}" async for result in check.results()]


async def dead_first_address() -> dict[str, Any]:
    """The bank's first address drops packets."""
    async with DnsServer({NAME: ADDRESSES}), bank_on_every_address() as port:
        dead, good = await in_order(NAME)
        drop(dead)
        async with running(f"http://{NAME}:{port}", trust_network="true") as app:
            statuses = [await ask(app) for _ in range(3)]
            statuses += await asyncio.gather(*(ask(app) for _ in range(20)))
            return {
                "statuses": statuses,
                "dropped": dropped(dead),
                "failures": sample(app, "candescent_proxy_upstream_address_failures_total"),
                "doctor": await doctor(port),
                "addresses": [dead, good],
            }


async def test_first_address_that_drops_packets() -> None:
    """The proxy sends it one packet, and all requests succeed; the doctor names it."""
    found = await run_alone(dead_first_address)
    assert found["statuses"] == [200] * 23
    assert (found["dropped"], found["failures"]) == (1, 1)
    (warning,) = [line for line in found["doctor"] if "address-failed" in line]
    assert warning.startswith("warning")
    assert all(f"{address}:" in warning for address in found["addresses"])


async def dead_first_address_of_the_outbound_proxy() -> dict[str, Any]:
    """The outbound proxy's first address drops packets."""
    records = {"out.test": ADDRESSES, NAME: ["192.0.2.3"]}
    async with (
        DnsServer(records),
        bank_on_every_address() as port,
        ConnectProxy(host="0.0.0.0", target_port=port) as out,  # noqa: S104 - as above
    ):
        dead, _ = await in_order("out.test")
        drop(dead)
        upstream = {"proxy": f"http://out.test:{out.port}"}
        base = f"http://{NAME}:{port}"
        async with running(base, trust_network="true", upstream=upstream) as app:
            statuses = [await ask(app) for _ in range(3)]
        count = dropped(dead)
        results = await doctor(port, OutboundProxy("out.test", out.port))
        return {"statuses": statuses, "dropped": count, "doctor": results}


async def test_first_address_of_the_outbound_proxy_that_drops_packets() -> None:
    """Likewise; the doctor gives the address the outbound proxy's name."""
    found = await run_alone(dead_first_address_of_the_outbound_proxy)
    assert (found["statuses"], found["dropped"]) == ([200] * 3, 1)
    (warning,) = [line for line in found["doctor"] if "address-failed" in line]
    assert "of out.test gives no connection" in warning


async def slow_resolver() -> dict[str, Any]:
    """The name server takes a second, and the pool is empty."""
    async with (
        DnsServer({NAME: ADDRESSES}, delay=1.0) as dns,
        bank_on_every_address() as port,
        running(f"http://{NAME}:{port}", ready=False, trust_network="true") as app,
    ):
        statuses = await asyncio.gather(*(ask(app) for _ in range(40)))
        return {"statuses": statuses, "questions": sorted(kind for _, kind in dns.questions)}


async def test_slow_resolver_is_asked_once() -> None:
    """Forty requests and the token call share one look-up."""
    found = await run_alone(slow_resolver)
    assert found == {"statuses": [200] * 40, "questions": ["A", "AAAA"]}


async def failing_resolver() -> dict[str, Any]:
    """The name server fails, then is silent, after a good response."""
    upstream = {"dns_ttl": "0", "max_idle_age": "0.01"}
    async with DnsServer({NAME: ADDRESSES}) as dns, bank_on_every_address() as port:
        async with running(f"http://{NAME}:{port}", trust_network="true", upstream=upstream) as app:

            async def ask_anew() -> int:
                await until(lambda: not app.pool.idle_count)
                return await ask(app)

            statuses = [await ask_anew()]
            dns.fails = True
            statuses += [await ask_anew() for _ in range(3)]
            found = {
                "statuses": statuses,
                "stale": sample(app, "candescent_proxy_dns_lookups_total", result="stale"),
            }
        fails = await doctor(port)
        dns.fails, dns.drops = False, 1_000_000
        silent = await doctor(port, connect_timeout=0.3)
        return found | {"fails": fails, "silent": silent}


async def test_failing_resolver_is_not_needed() -> None:
    """The last addresses are used; without any the doctor says what fails."""
    found = await run_alone(failing_resolver)
    assert found["statuses"] == [200] * 4
    assert found["stale"] == 1
    assert found["fails"][0].startswith("failed upstream-resolve ")
    assert found["silent"][0].startswith("failed upstream-resolve-timeout ")


async def no_address_works() -> list[str]:
    """One address drops packets, the other refuses."""
    async with DnsServer({NAME: ADDRESSES}):
        first, _ = await in_order(NAME)
        drop(first)
        return [first, *await doctor(9, connect_timeout=1)]


async def test_each_address_is_named() -> None:
    """With what became of it."""
    first, result = await run_alone(no_address_works)
    (other,) = set(ADDRESSES) - {first}
    assert result.startswith("failed upstream-connect ")
    assert result.endswith(f"Tried: {first}:9 (no answer), {other}:9 (connection refused).")
