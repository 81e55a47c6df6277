"""Metrics sent to a collector: the same series as at /metrics, at intervals and at the end.

The collector is a small server that decodes OTLP; Debian's Prometheus has no receiver for it.
"""

import asyncio
import sys
from typing import Any

import pytest
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality, Metric

from proxy.config import loader
from proxy.errors import ConfigError
from proxy.runtime import build
from proxy.sandbox import Sandbox
from proxy.telemetry.metrics import Metrics
from tests.support.otlp_collector import OtlpCollector, plain
from tests.support.raw_client import ask, request
from tests.support.running import DEADLINE, running, until
from tests.telemetry.metrics.reading import families
from tests.telemetry.test_tracing import MINIMAL, silent

Series = dict[tuple[str, frozenset[tuple[str, Any]]], float]


def exposed(metrics: Metrics) -> Series:
    """Return the series of the exposition, without those of the process, which change."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in families(metrics, "").values()
        if family.name.startswith("candescent_proxy_")
        for sample in family.samples
    }


def received(push: dict[str, Metric]) -> Series:
    """Return the series that a Prometheus makes of a push."""
    found: Series = {}
    for name, metric in push.items():
        if not name.startswith("candescent_proxy_"):
            continue
        data = getattr(metric, str(metric.WhichOneof("data")))
        for point in data.data_points:
            labels = plain(point.attributes).items()
            if metric.HasField("histogram"):
                assert data.aggregation_temporality == CUMULATIVE
                found[name + "_count", frozenset(labels)] = point.count
                found[name + "_sum", frozenset(labels)] = point.sum
                seen = 0
                bounds = [*map(str, point.explicit_bounds), "+Inf"]
                for bound, count in zip(bounds, point.bucket_counts, strict=True):
                    seen += count
                    found[name + "_bucket", frozenset({*labels, ("le", bound)})] = seen
            else:
                if metric.HasField("sum"):
                    assert data.is_monotonic
                    assert data.aggregation_temporality == CUMULATIVE
                    assert point.start_time_unix_nano
                found[name, frozenset(labels)] = point.as_double
    return found


CUMULATIVE = AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE


async def test_job_that_ends_has_sent_its_metrics(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of its last moment, with names, labels and values of the exposition."""
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "service.instance.id=job-1")
    async with OtlpCollector() as collector, Sandbox() as bank:
        settings = {"endpoint": collector.metrics_endpoint}
        async with running(bank, metrics=settings) as app:
            for _ in range(3):
                await ask(app, request("GET", "/v1/accounts"))
            assert not collector.pushes
        (push,) = collector.pushes
    expected, found = exposed(app.metrics), received(push)
    assert found.keys() == expected.keys()
    counters = {key: value for key, value in expected.items() if key[0].endswith("_total")}
    assert {key: found[key] for key in counters} == counters
    finished = {key: value for key, value in expected.items() if "request_duration" in key[0]}
    assert finished
    assert {key: found[key] for key in finished} == finished
    assert "process_cpu_seconds_total" in push
    assert collector.resource["service.name"] == "candescent-proxy"
    assert collector.resource["service.instance.id"] == "job-1"


async def test_metrics_are_sent_at_intervals() -> None:
    """Again and again, and once more at the end."""
    async with OtlpCollector() as collector, Sandbox() as bank:
        settings = {"endpoint": collector.metrics_endpoint, "interval": "0.05"}
        async with running(bank, metrics=settings):
            await until(lambda: len(collector.pushes) >= 3)
            count = len(collector.pushes)
        assert len(collector.pushes) > count


async def test_collector_that_does_not_respond(monkeypatch: pytest.MonkeyPatch) -> None:
    """It delays neither requests nor, for more than two seconds, the end."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_METRICS_TIMEOUT", "3600")
    async with silent() as endpoint, Sandbox() as bank, asyncio.timeout(DEADLINE):
        settings = {"endpoint": endpoint, "interval": "0.05"}
        async with running(bank, metrics=settings) as app:
            await until(lambda: app._push is not None and app._push._sending.locked())
            assert (await ask(app, request("GET", "/v1/accounts"))).status == 200


@pytest.mark.parametrize(
    ("environ", "endpoint"),
    [
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318/"}, None),
        (
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318/", "OTEL_METRICS_EXPORTER": "otlp"},
            "http://c:4318/v1/metrics",
        ),
        ({"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://m:4318/m"}, "http://m:4318/m"),
        (
            {
                "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://m:4318/m",
                "OTEL_METRICS_EXPORTER": "none",
            },
            None,
        ),
        (
            {
                "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://m:4318/m",
                "CANDESCENT_METRICS__ENDPOINT": "http://own:4318/m",
            },
            "http://own:4318/m",
        ),
    ],
)
def test_endpoint(environ: dict[str, str], endpoint: str | None) -> None:
    """OpenTelemetry's variables; the collector of spans gets metrics only if it is said."""
    assert loader.load(None, environ, MINIMAL).metrics.endpoint == endpoint


def test_missing_package_is_a_configuration_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """It says what to install."""
    monkeypatch.setitem(sys.modules, "proxy.telemetry.metrics.otlp", None)
    config = loader.load(None, {}, {**MINIMAL, "metrics": {"endpoint": "http://c:4318/v1/metrics"}})
    with pytest.raises(ConfigError, match=r"install candescent-proxy\[otel\]"):
        build.metrics_push(config, Metrics())
