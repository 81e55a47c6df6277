"""Values read from running components, including those of retired cores."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from proxy.admin.health import STATES
from proxy.runtime.certificate_expiry import expiries
from proxy.sandbox import Fault
from tests.support.certificates import OpensslAuthority
from tests.support.mounted_files import write
from tests.support.proxy_fixture import ProxyFixture, proxy_fixture, sample
from tests.support.running import CLIENT, until
from tests.telemetry.metrics.reading import families, value

QUICK = {"half_close_timeout": "0.05"}
"""Limits under which a caller that goes away is soon believed."""


@asynccontextmanager
async def proxy_in(folder: Path, **written: Any) -> AsyncIterator[ProxyFixture]:
    """Start a proxy with its secret and configuration in ``folder``."""
    write(folder / "secret", CLIENT["client_secret"])
    secret = str(folder / "secret")
    async with proxy_fixture(
        folder / "proxy.yaml", client_secret_file=secret, **written
    ) as fixture:
        yield fixture


def read(fixture: ProxyFixture, name: str) -> float:
    """Return the value of a metric of the proxy."""
    return sample(fixture.app, f"candescent_proxy_{name}")


async def test_requests_of_a_retired_core_are_counted(tmp_path: Path) -> None:
    """A request that runs during a reload stays visible."""
    async with proxy_in(tmp_path, limits=QUICK) as fixture:
        hanging = Fault("resource", times=1, hang=True)
        fixture.bank.bank.faults.append(hanging)
        request = asyncio.ensure_future(fixture.call())
        await until(lambda: hanging.used)
        fixture.write(upstream={"max_connections": 7})
        await fixture.wait_for_reload()
        assert read(fixture, "requests_in_flight") == 1
        assert read(fixture, "upstream_connections") == 1
        assert read(fixture, "upstream_connections_limit") == 7
        request.cancel()  # the caller disconnects
        await until(lambda: not read(fixture, "requests_in_flight"))


async def test_opened_connections_never_decrease(tmp_path: Path) -> None:
    """The counter keeps those of retired cores."""
    async with proxy_in(tmp_path) as fixture:
        await fixture.call()
        assert read(fixture, "upstream_connections_opened_total") == 1
        fixture.write(upstream={"max_connections": 7})
        await fixture.wait_for_reload()
        await until(lambda: not read(fixture, "upstream_connections"))
        assert read(fixture, "upstream_connections_opened_total") == 1
        await fixture.call()
        assert read(fixture, "upstream_connections_opened_total") == 2


async def test_connection_queue_is_measured(tmp_path: Path) -> None:
    """Waiting requests and those refused by a full queue."""
    short = {"max_connections": 1, "max_waiting": 1}
    async with proxy_in(tmp_path, upstream=short, limits=QUICK) as fixture:
        hanging = Fault("resource", times=1, hang=True)
        fixture.bank.bank.faults.append(hanging)
        first = asyncio.ensure_future(fixture.call())
        await until(lambda: hanging.used)
        second = asyncio.ensure_future(fixture.call())
        await until(lambda: read(fixture, "requests_waiting_for_connection") == 1)
        assert await fixture.call() == 503
        await until(
            lambda: sample(
                fixture.app, "candescent_proxy_requests_shed_total", reason="upstream_busy"
            )
        )
        first.cancel()
        assert await second == 200
        assert read(fixture, "requests_waiting_for_connection") == 0


async def test_caller_connections_are_measured(tmp_path: Path) -> None:
    """Connected, limit, and refused."""
    limits = {"max_connections": 2, "max_in_flight": 5}
    async with proxy_in(tmp_path, limits=limits) as fixture:
        assert read(fixture, "caller_connections_limit") == 2
        assert read(fixture, "requests_in_flight_limit") == 5
        address = fixture.app.data_address
        callers = [await asyncio.open_connection(str(address.host), address.port) for _ in range(3)]
        labels = {"listener": "main", "reason": "connections"}
        refused = "caller_connections_refused_total"
        await until(lambda: value(fixture.app.metrics, refused, **labels) == 1)
        assert read(fixture, "caller_connections") == 2
        for _, writer in callers:
            writer.close()
        await until(lambda: not read(fixture, "caller_connections"))


@pytest.mark.parametrize(
    ("limits", "full"),
    [({"max_connections": 1}, "connections"), ({"max_in_flight": 1}, "in_flight")],
)
async def test_shed_requests_are_counted_by_limit(
    tmp_path: Path, limits: dict[str, Any], full: str
) -> None:
    """Callers get the same response; the metric has the limit that was reached."""
    async with proxy_in(tmp_path, limits=limits | QUICK) as fixture:
        hanging = Fault("resource", times=1, hang=True)
        fixture.bank.bank.faults.append(hanging)
        first = asyncio.ensure_future(fixture.call())
        await until(lambda: hanging.used)
        assert await fixture.call() == 503
        name = "candescent_proxy_requests_shed_total"
        await until(lambda: sample(fixture.app, name, reason=full) == 1)
        assert sample(fixture.app, name) == 1
        first.cancel()
        await until(lambda: not read(fixture, "requests_in_flight"))


async def test_ready_agrees_with_readyz(tmp_path: Path) -> None:
    """1 with a token, 0 without."""
    async with proxy_in(tmp_path) as fixture:
        assert read(fixture, "ready") == 1
    async with proxy_in(tmp_path, ready=False, base_url="http://127.0.0.1:9") as fixture:
        assert value(fixture.app.metrics, "ready") == 0


async def test_health_has_one_state(tmp_path: Path) -> None:
    """With its reason; the other states are 0."""
    async with proxy_in(tmp_path) as fixture:
        assert health_of(fixture) == {("ok", "none")}
        fixture.bank.bank.faults.append(Fault("resource", status=401))
        for _ in range(3):
            await fixture.call()
        assert health_of(fixture) == {("failing", "token-refused")}
    assert health_of(fixture) == {("stopping", "none")}


def health_of(fixture: ProxyFixture) -> set[tuple[str, str]]:
    """Return state and reason of the series that are 1, of one for each state."""
    series = families(fixture.app.metrics)["candescent_proxy_health"].samples
    assert [each.labels["state"] for each in series] == [*STATES]
    return {(each.labels["state"], each.labels["reason"]) for each in series if each.value}


async def test_certificate_expiry_is_of_the_used_file(tmp_path: Path) -> None:
    """A renewed certificate counts once it is applied; an invalid one does not."""
    authority = OpensslAuthority.make(tmp_path)
    leaf = authority.issue("localhost", "DNS:localhost", days="3")
    longer = authority.issue("localhost", "DNS:localhost", days="9", file="longer")
    file = tmp_path / "certificate.pem"
    shutil.copy(leaf, file)
    callers = {"certificate_file": str(file)}

    async with proxy_in(tmp_path, callers=callers) as fixture:

        def expiry() -> float:
            name = "candescent_proxy_certificate_expiry_timestamp_seconds"
            return sample(fixture.app, name, setting="callers.certificate_file")

        assert expiry() == expiries([("a", leaf)])["a"]
        write(file, "no certificate")
        await fixture.wait_for_failed_reload()
        assert expiry() == expiries([("a", leaf)])["a"]
        shutil.copy(longer, file)
        await fixture.wait_for_reload()
        assert expiry() == expiries([("a", longer)])["a"]
