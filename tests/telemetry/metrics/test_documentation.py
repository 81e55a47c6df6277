"""docs/metrics.md, compared with the metrics of a proxy that has met many faults."""

import re
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import aiohttp
from prometheus_client import Metric

from proxy.errors import kinds
from proxy.forwarding.routing import METHODS
from proxy.sandbox import Fault, Sandbox, Settings
from proxy.telemetry.metrics import Metrics
from proxy.telemetry.metrics.token_store import StoreCollector
from proxy.tokens.events import Trigger
from proxy.tokens.fleet.events import (
    AcquisitionSource,
    DecryptFailed,
    StoreFailure,
    StoreOperation,
    TokenAcquired,
)
from tests.support.certificates import OpensslAuthority
from tests.support.running import running, until, url
from tests.telemetry.metrics import documented
from tests.telemetry.metrics.documented import DocumentedMetric
from tests.telemetry.metrics.reading import FORMATS, KEY, families

STORE = "candescent_proxy_store_"


def exposed(found: Iterable[Metric]) -> dict[str, DocumentedMetric]:
    """Return the proxy's metrics in the page's form; each must have a series."""
    lines = {}
    for family in found:
        if not family.name.startswith("candescent_proxy_"):
            continue
        (labels,) = {frozenset(sample.labels) - {"le"} for sample in family.samples}
        name = f"{family.name}_total" if family.type == "counter" else family.name
        lines[name] = DocumentedMetric(family.type, labels)
    return lines


async def metrics_after_faults(folder: Path) -> Metrics:
    """Return the metrics of a proxy after many kinds of requests and faults."""
    ca = OpensslAuthority.make(folder)
    settings: dict[str, Any] = {
        "token": {"min_interval": "0.001", "backoff_initial": "0.01", "backoff_max": "0.02"},
        "upstream": {"ca_file": str(ca.file)},
    }
    async with Sandbox(Settings(issuing="same")) as bank:
        bank.bank.faults.append(Fault("token", code="CMN_90001", times=2))
        async with running(bank, **settings) as app, aiohttp.ClientSession(url(app)) as session:
            bank.bank.expire_all()
            for path in ("/echo", "/oauth2/v1/token", "/status/503"):
                async with session.get(path) as response:
                    await response.read()
            entry = next(app.tokens.entries())
            app.tokens.start_refresh(entry)
            await until(lambda: entry.same_tokens)
            bank.bank.faults.append(Fault("resource", reset=True, path_prefix="/broken"))
            with suppress(aiohttp.ClientError):
                async with session.post("/broken", data=b"x") as response:
                    await response.read()
            return app.metrics


async def test_metrics_and_page_agree(tmp_path: Path) -> None:
    """By name, type and labels, in both formats."""
    metrics = await metrics_after_faults(tmp_path)
    lines = {n: line for n, line in documented.metrics().items() if not n.startswith(STORE)}
    for accept in FORMATS:
        assert exposed(families(metrics, accept).values()) == lines


def test_store_metrics_and_page_agree() -> None:
    """Of a fleet's store, which here is only configured."""
    collector = StoreCollector()
    collector.is_available = lambda: True
    for event in (
        StoreOperation("read", 0.001, StoreFailure.TIMEOUT),
        TokenAcquired(KEY, AcquisitionSource.SHARED, 0.1),
        DecryptFailed(KEY, "key"),
    ):
        collector.add(event)
    lines = {n: line for n, line in documented.metrics().items() if n.startswith(STORE)}
    assert exposed(families(collector).values()) == lines
    assert documented.label_values("`source`") == set(AcquisitionSource)
    # While the store is paused no step is tried, so none is counted.
    known = set(StoreFailure) - {StoreFailure.NONE, StoreFailure.CIRCUIT_OPEN}
    assert documented.label_values("`reason` of store failures") == known


def test_names_end_with_their_units() -> None:
    """Seconds and bytes, before a counter's _total."""
    for name, line in documented.metrics().items():
        for word in ("seconds", "bytes"):
            is_said = name.removesuffix("_total").endswith(f"_{word}")
            assert is_said == line.unit.startswith(word), name


def test_label_values_agree() -> None:
    """The closed sets on the page are those of the program."""
    assert documented.label_values("`method`") == METHODS | {"other"}
    assert documented.label_values("`reason` of token failures") == {
        kind.label for kind in kinds.TOKEN_FAILURES
    }
    assert documented.label_values("`trigger`") == set(Trigger)


def test_shed_reasons_and_settings_agree() -> None:
    """Limits, and settings with certificates."""
    said = documented.label_values("`reason` of shed requests")
    samples = families(Metrics())["candescent_proxy_requests_shed"].samples
    assert {sample.labels["reason"] for sample in samples} <= said
    assert "callers.certificate_file" in documented.label_values("`setting`")


def test_every_label_is_explained() -> None:
    """In the table of labels."""
    lines = documented.metrics().items()
    used = {label for _, line in lines for label in line.labels}
    section = documented.PAGE.partition("## Labels")[2]
    for label in used:
        assert re.search(rf"^\| [^|]*`{label}`[^|]*\|", section, re.MULTILINE), label
