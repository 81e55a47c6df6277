"""What is read of the parts that run: of every core, the retired ones too."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from proxy.runtime.certificate_expiry import expiries
from proxy.sandbox import Fault
from tests.support.certificates import OpensslAuthority
from tests.support.mounted_files import write
from tests.support.proxy_fixture import ProxyFixture, proxy_fixture, sample
from tests.support.running import CLIENT, until
from tests.telemetry.metrics.reading import value

QUICK = {"half_close_timeout": "0.05"}
"""Limits under which a caller that goes away is soon believed."""


@asynccontextmanager
async def housed(folder: Path, **written: Any) -> AsyncIterator[ProxyFixture]:
    """Start a proxy whose secret and configuration stand in ``folder``."""
    write(folder / "secret", CLIENT["client_secret"])
    secret = str(folder / "secret")
    async with proxy_fixture(
        folder / "proxy.yaml", client_secret_file=secret, **written
    ) as fixture:
        yield fixture


def read(fixture: ProxyFixture, name: str) -> float:
    """Return a number of the proxy's."""
    return value(fixture.app.metrics, name) or 0.0


async def test_replaced_core_is_still_counted(tmp_path: Path) -> None:
    """A reload under a running request takes neither it nor its connection out of sight."""
    async with housed(tmp_path, limits=QUICK) as fixture:
        hanging = Fault("resource", times=1, hang=True)
        fixture.bank.bank.faults.append(hanging)
        request = asyncio.ensure_future(fixture.call())
        await until(lambda: hanging.used)
        fixture.write(upstream={"max_connections": 7})
        await fixture.wait_for_reload()
        assert read(fixture, "requests_in_flight") == 1
        assert read(fixture, "upstream_connections") == 1
        assert read(fixture, "upstream_connections_limit") == 7
        request.cancel()  # the caller goes away
        await until(lambda: not read(fixture, "requests_in_flight"))


async def test_connections_that_were_opened_only_grow(tmp_path: Path) -> None:
    """A counter does not fall when the core that opened them has gone."""
    async with housed(tmp_path) as fixture:
        await fixture.call()
        assert read(fixture, "upstream_connections_opened_total") == 1
        fixture.write(upstream={"max_connections": 7})
        await fixture.wait_for_reload()
        await until(lambda: not read(fixture, "upstream_connections"))
        assert read(fixture, "upstream_connections_opened_total") == 1
        await fixture.call()
        assert read(fixture, "upstream_connections_opened_total") == 2


async def test_queue_for_a_connection(tmp_path: Path) -> None:
    """Who waits is seen waiting; who finds the queue full is counted as shed."""
    short = {"max_connections": 1, "max_waiting": 1}
    async with housed(tmp_path, upstream=short, limits=QUICK) as fixture:
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


async def test_callers_and_their_limit(tmp_path: Path) -> None:
    """How many are connected, how many may be, and how many had to go for it."""
    limits = {"max_connections": 2, "max_in_flight": 5}
    async with housed(tmp_path, limits=limits) as fixture:
        assert read(fixture, "caller_connections_limit") == 2
        assert read(fixture, "requests_in_flight_limit") == 5
        address = fixture.app.data_address
        callers = [await asyncio.open_connection(str(address.host), address.port) for _ in range(3)]
        await until(lambda: read(fixture, "caller_connections_refused_total") == 1)
        assert read(fixture, "caller_connections") == 2
        for _, writer in callers:
            writer.close()
        await until(lambda: not read(fixture, "caller_connections"))


@pytest.mark.parametrize(
    ("limits", "full"),
    [({"max_connections": 1}, "connections"), ({"max_in_flight": 1}, "in_flight")],
)
async def test_shed_by_the_limit_that_was_reached(
    tmp_path: Path, limits: dict[str, Any], full: str
) -> None:
    """A full house reads alike to callers; an operator is told whether door or desk was full."""
    async with housed(tmp_path, limits=limits | QUICK) as fixture:
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


async def test_ready_is_what_readyz_says(tmp_path: Path) -> None:
    """1 with a token, 0 without."""
    async with housed(tmp_path) as fixture:
        assert read(fixture, "ready") == 1
    async with housed(tmp_path, ready=False, base_url="http://127.0.0.1:9") as fixture:
        assert value(fixture.app.metrics, "ready") == 0


async def test_certificates_are_those_in_force(tmp_path: Path) -> None:
    """One that is renewed counts when it is taken; one that is of no use changes nothing."""
    authority = OpensslAuthority.make(tmp_path)
    leaf = authority.issue("localhost", "DNS:localhost", days="3")
    longer = authority.issue("localhost", "DNS:localhost", days="9", file="longer")
    file = tmp_path / "certificate.pem"
    shutil.copy(leaf, file)
    callers = {"certificate_file": str(file)}

    async with housed(tmp_path, callers=callers) as fixture:

        def shown() -> float:
            name = "candescent_proxy_certificate_expiry_timestamp_seconds"
            return sample(fixture.app, name, setting="callers.certificate_file")

        assert shown() == expiries([("a", leaf)])["a"]
        write(file, "no certificate")
        await fixture.wait_for_failed_reload()
        assert shown() == expiries([("a", leaf)])["a"]
        shutil.copy(longer, file)
        await fixture.wait_for_reload()
        assert shown() == expiries([("a", longer)])["a"]
