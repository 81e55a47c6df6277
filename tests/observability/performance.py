"""Runs bank, proxies, clients, Prometheus with our rules, and Alertmanager together."""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from proxy.sandbox import Sandbox
from tests.observability.faster import FACTOR, faster
from tests.observability.servers import (
    Alertmanager,
    Prometheus,
    alertmanager,
    prometheus,
)
from tests.observability.setup import (
    BackgroundCallers,
    MonitoredProxy,
    bank_for,
    monitored_proxy,
    running_proxies,
)
from tests.support.redis_server import redis_server

DEPLOY = Path(__file__).parents[2] / "deploy/prometheus"


@dataclass
class MonitoredProxies:
    """The running parts. ``proxies`` are the proxies by name."""

    bank: Sandbox
    proxies: Mapping[str, MonitoredProxy]
    prometheus: Prometheus
    alertmanager: Alertmanager


def rules() -> dict[str, Any]:
    """Return the alert rules with all files of deploy/prometheus."""
    return dict(yaml.safe_load((DEPLOY / "rules.yaml").read_text(encoding="utf-8")))


@asynccontextmanager
async def monitored_proxies(
    folder: Path,
    names: Iterable[str],
    *,
    tls: Sequence[str] = (),
    sharing: Sequence[str] = (),
    fleet: str = "",
) -> AsyncIterator[MonitoredProxies]:
    """Start everything, with proxies of these names, those in ``tls`` with TLS.

    Those in ``sharing`` have the same institutions and share tokens through a store.
    ``fleet`` is the namespace of them all; without one, each is in a namespace of its own name.
    """
    cast = list(names)
    async with AsyncExitStack() as stack:
        bank = await stack.enter_async_context(bank_for(len(cast)))
        store = await stack.enter_async_context(redis_server(folder / "store"))
        proxies = {
            name: monitored_proxy(
                folder / name,
                name,
                cast.index(sharing[0]) if name in sharing else number,
                bank,
                tls=name in tls,
                store=store if name in sharing else None,
            )
            for number, name in enumerate(cast)
        }
        await stack.enter_async_context(running_proxies(proxies.values()))
        manager = await stack.enter_async_context(
            alertmanager(folder / "alertmanager", DEPLOY / "alertmanager.yaml")
        )
        targets: dict[str, list[str]] = {}
        for name, one in proxies.items():
            targets.setdefault(fleet or name, []).append(one.running.admin)
        watching = prometheus(folder / "prometheus", faster(rules(), FACTOR), targets, manager)
        yield MonitoredProxies(bank, proxies, await stack.enter_async_context(watching), manager)


@asynccontextmanager
async def called(proxies: Iterable[MonitoredProxy]) -> AsyncIterator[None]:
    """Run clients that use the first institution and rarely send an invalid request."""
    async with AsyncExitStack() as stack:
        for one in proxies:
            await stack.enter_async_context(
                BackgroundCallers(one, rest=0.4, hostile=0.02).calling()
            )
        yield
