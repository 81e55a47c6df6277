"""A bank, a network in front of it, the proxy as a process, and their settings."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from proxy.sandbox import Sandbox, Settings, changed
from tests.soak.arrivals import JudgedArrivals
from tests.soak.fault_schedule import FaultSchedule
from tests.soak.promises import FaultCause
from tests.support.mounted_files import MountedSecret, write
from tests.support.process import RunningProxy, process, write_settings
from tests.support.tcp_relay import TcpRelay

CLIENT = "sandbox-client"
LIFETIME = 3.0
"""Token lifetime in seconds; the proxy refreshes a token at half of it."""

PROXY: dict[str, Any] = {
    "allowed_institutions": ["00017", "00018"],
    "institutions": {"00017": {"username": "basil"}},
    "admin_actions": "true",
    "reload_interval": "0.2",
    "grace_period": "10",
    "log": {"access": "off", "format": "json"},
    "upstream": {
        "connect_timeout": "1",
        "first_byte_timeout": "1.5",
        "idle_timeout": "1.5",
        "total_timeout": "8",
        "max_wait": "2",
        "max_idle_age": "2",
    },
    "token": {
        "timeout": "1",
        "backoff_initial": "0.2",
        "backoff_max": "0.5",
        "throttle_initial": "0.3",
        "throttle_max": "0.8",
        "refusal_memory": "0.5",
        "min_interval": "0.5",
        "prefetch": ["v2", "v1"],
    },
}
"""The proxy's settings, with short timeouts, so that outages end within a phase."""


@dataclass
class SoakSetup:
    """The parts of the soak test."""

    bank: Sandbox
    relay: TcpRelay
    proxy: RunningProxy
    file: Path
    secrets: MountedSecret
    callers: MountedSecret
    settings: dict[str, Any]
    fault_schedule: FaultSchedule
    arrivals: JudgedArrivals
    random: random.Random
    callers_secret: str = "callers-0"
    token_lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held while a fault affects the token endpoint, and while a step needs it to work."""
    network_lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held while a fault affects the network, and while a step needs it to work."""
    lag: float = 0.0
    """Delay of this event loop, which also runs bank and network, in the last second."""
    presented: Counter[str] = field(default_factory=Counter)
    """Number of requests in flight by callers' secret."""

    @contextmanager
    def presenting(self) -> Iterator[None]:
        """Count a request with the current callers' secret within the block."""
        secret = self.callers_secret
        self.presented[secret] += 1
        try:
            yield
        finally:
            self.presented[secret] -= 1

    def set_clients(self, **clients: str) -> None:
        """Replace the bank's clients by these, id to secret."""
        known = {CLIENT: clients["secret"]}
        self.bank.bank.settings = changed(self.bank.bank.settings, {"clients": known})

    def write(self, **changes: Any) -> None:
        """Write the proxy's configuration with these changes, for this time only."""
        write_settings(self.file, self.bank_url, **{**self.settings, **changes})

    @property
    def bank_url(self) -> str:
        """Return the bank's URL behind the network relay."""
        return f"http://127.0.0.1:{self.relay.port}"

    async def watch_lag(self) -> None:
        """Record stalls of this machine, during which arrivals are late."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + 0.02
            await asyncio.sleep(0.02)
            late = loop.time() - due
            self.lag = max(late, self.lag - 0.02)
            if late > 0.1:
                self.fault_schedule.note(FaultCause.STALL, "machine stands still", late)


@asynccontextmanager
async def soak_setup(folder: Path, seed: int) -> AsyncIterator[SoakSetup]:
    """Start everything, with files in ``folder``."""
    loop = asyncio.get_running_loop()
    secrets = MountedSecret(folder / "secrets", client_secret="secret-0", password="sundial")
    callers = MountedSecret(folder / "callers", one="callers-0", two="callers-0")
    written = PROXY | {
        "client_id": CLIENT,
        "client_secret_file": str(secrets / "client_secret"),
        "callers": {"secret_files": [str(callers / "one"), str(callers / "two")]},
    }
    own = {"username": "basil", "password_file": str(secrets / "password")}
    written["institutions"] = {"00017": own}
    bank = Sandbox(Settings(clients={CLIENT: "secret-0"}, lifetime=LIFETIME, v1_lifetime=LIFETIME))
    async with bank, TcpRelay(int(bank.url.rpartition(":")[2])) as relay:
        setup: list[SoakSetup] = []
        arrivals = JudgedArrivals(bank.bank, lambda: setup[0].lag if setup else 0.0)
        bank.bank.arrivals = arrivals
        relay.received = arrivals.hear
        file = folder / "proxy.yaml"
        write(file, "")
        async with process(file, f"http://127.0.0.1:{relay.port}", **written) as running:
            dice = random.Random(seed)  # noqa: S311 - random faults, not secrets
            setup.append(
                SoakSetup(
                    bank=bank,
                    relay=relay,
                    proxy=running,
                    file=file,
                    secrets=secrets,
                    callers=callers,
                    settings=written,
                    fault_schedule=FaultSchedule(loop.time),
                    arrivals=arrivals,
                    random=dice,
                )
            )
            watching = asyncio.create_task(setup[0].watch_lag())
            try:
                yield setup[0]
            finally:
                watching.cancel()
