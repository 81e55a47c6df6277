"""Cardinality: neither callers nor the bank can add series without bounds."""

import asyncio
import random
from http import HTTPStatus

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from proxy.errors import Source, kinds
from proxy.forwarding.record import RequestRecord
from proxy.forwarding.routing import METHODS
from proxy.runtime.app import App
from proxy.sandbox import Sandbox
from proxy.server.refusals import TEXTS
from proxy.telemetry.metrics.histogram import BUCKETS, FINE_BUCKETS
from proxy.telemetry.metrics.requests import STATUSES, RequestCollector
from proxy.tokens.events import Trigger
from tests.support.running import running, until, url
from tests.telemetry.metrics.reading import families

INSTITUTIONS = ("00016", "00017", "00018")
KINDS, ROUTES, OWN_ERRORS = 2, 3, 60
"""``OWN_ERRORS`` is more than there are names of errors in the program."""


def bound(institutions: int, listeners: int = 1) -> int:
    """Return the maximal number of series for so many institutions and listeners."""
    methods, statuses, sources, classes = len(METHODS) + 1, len(set(STATUSES)), len(Source), 6
    keys = KINDS * institutions
    requests = (
        # Responses of the bank may have any status, the proxy's own only those of its errors.
        methods * KINDS * statuses
        + methods * ROUTES * OWN_ERRORS
        + (institutions + 1) * ROUTES * classes * sources
        + listeners * classes * sources
        + OWN_ERRORS
        + ROUTES * (4 * (len(BUCKETS) + 3) + len(FINE_BUCKETS) + 3)
    )
    outcomes = 1 + len(kinds.TOKEN_FAILURES)
    tokens = keys * (len(Trigger) * outcomes + 2 + 7) + KINDS * (len(BUCKETS) + 3)
    refused = (listeners + 1) * len(TEXTS)
    return requests + tokens + refused + 60  # metrics without labels, or with few values


def series(app: App) -> set[tuple[str, frozenset[tuple[str, str]]]]:
    """Return every series of the proxy."""
    text = app.metrics.exposition("")[0].decode()
    return {
        (sample.name, frozenset(sample.labels.items()))
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name.startswith("candescent_proxy_")
    }


class RandomCaller:
    """A caller with random requests; reproducible by its seed."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)  # noqa: S311 - to make things up, not to keep secrets

    def word(self) -> str:
        """Return a random word."""
        return f"x{self.dice.getrandbits(64):x}"

    def method(self) -> str:
        """Return a valid or invalid method."""
        return self.dice.choice((*METHODS, self.word().upper(), "TRACE"))

    def institution(self) -> str:
        """Return a configured institution, another one, or none."""
        return self.dice.choice((*INSTITUTIONS, str(self.dice.randrange(10**9)), self.word()))

    def target(self) -> str:
        """Return a random path, a V1 path, or one with a random status."""
        return self.dice.choice(
            (
                f"/{self.word()}?{self.word()}",
                f"/subscriptions/v1/fis/{self.institution()}/{self.word()}",
                f"/status/{self.dice.randrange(200, 600)}",
                "/oauth2/v1/token",
            )
        )

    async def call(self, session: aiohttp.ClientSession) -> None:
        """Send a random request."""
        headers = {"institutionId": self.institution(), "transactionId": self.word()}
        method, target = self.method(), self.target()
        async with session.request(method, target, headers=headers) as response:
            await response.read()


async def test_random_callers_add_no_series() -> None:
    """Two thousand requests to a bank with any status."""
    async with (
        Sandbox() as bank,
        running(bank, allowed_institutions=INSTITUTIONS) as app,
        aiohttp.ClientSession(url(app)) as session,
    ):

        async def strange(seed: int) -> None:
            stranger = RandomCaller(seed)
            for _ in range(250):
                await stranger.call(session)

        await asyncio.gather(*(strange(seed) for seed in range(8)))
        _, writer = await asyncio.open_connection(str(app.data_address.host), app.data_address.port)
        writer.write(b"\x01 / HTTP/1.1\r\n\r\n")
        writer.close()
        await until(lambda: any("unreadable" in dict(labels).values() for _, labels in series(app)))
        found = series(app)
        assert len(found) < bound(len(INSTITUTIONS))
        values = {value for _, labels in found for _, value in labels}
        assert not [value for value in values if value.startswith("x")]
        institutions = {dict(labels).get("institution") for _, labels in found}
        assert institutions <= {None, "none", *INSTITUTIONS}
        statuses = {dict(labels).get("status", "0") for _, labels in found}
        assert statuses <= {"0", "2xx", "3xx", "4xx", "5xx"} | {
            str(each.value) for each in HTTPStatus
        }


def test_ten_thousand_random_records() -> None:
    """With random methods, paths, ids and statuses."""
    collector, stranger = RequestCollector(), RandomCaller(2)
    dice = stranger.dice
    for _ in range(10_000):
        record = RequestRecord(stranger.method(), stranger.target().encode(), 0.0)
        record.transaction_id = stranger.word()
        record.status = dice.randrange(100, 600)
        record.route = dice.choice(("v1", "v2"))
        record.institution = dice.choice(INSTITUTIONS)
        record.sent_at, record.responded_at = 0.001, dice.expovariate(1)
        record.finished_at = record.responded_at + dice.expovariate(1000)
        collector.add(record)
    found = families(collector)
    count = sum(len(family.samples) for family in found.values())
    assert count < bound(len(INSTITUTIONS))
    assert sum(s.value for s in found["candescent_proxy_requests"].samples) == 10_000


def test_bound_depends_on_the_configuration_only() -> None:
    """An institution adds a fixed number of series."""
    steps = {bound(n + 1) - bound(n) for n in (1, 10, 1000)}
    assert len(steps) == 1
    assert steps.pop() < 300
