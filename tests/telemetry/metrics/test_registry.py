"""The exposition: both formats, names, no secret."""

import re

import aiohttp
import pytest
from prometheus_client import Metric

from proxy import __version__
from proxy.errors import Source, TokenError, kinds
from proxy.sandbox import Fault, Sandbox
from proxy.telemetry.events import Reloaded
from proxy.telemetry.metrics import Metrics
from proxy.tokens.cache import Entry
from proxy.tokens.events import TokenRefreshed, TokenRefreshFailed, TokenRejected
from proxy.tokens.held import HeldTokens
from proxy.tokens.token import Instant
from tests.support.running import running, until, url
from tests.telemetry.metrics.reading import (
    FORMATS,
    KEY,
    LABELS,
    OPENMETRICS,
    families,
    record,
    token,
    value,
)


def busy() -> Metrics:
    """Return metrics after many kinds of events."""
    metrics = Metrics()
    failed = TokenError(kinds.TOKEN_SERVER, "It failed.")
    metrics.event(TokenRefreshed(token(), 0.1, 3300))
    metrics.event(TokenRefreshFailed(KEY, failed, 0.1, 1, 1))
    metrics.event(TokenRejected(token(), was_current=True))
    metrics.event(Reloaded("file"))
    metrics.register_tokens(
        lambda: [Entry(KEY, 0, held=HeldTokens(token()))], lambda: Instant(2, 1_800_000_001)
    )
    metrics.callbacks.gauge("ready", "Whether it is.", lambda: 1.0)
    metrics.reloads.certificates = {"upstream.ca_file": 1_900_000_000.0}
    metrics.request(record())
    metrics.request(record(source=Source.UPSTREAM, reason="upstream-closed", status=502))
    return metrics


@pytest.mark.parametrize("accept", FORMATS)
def test_prometheus_client_parses_it(accept: str) -> None:
    """Both formats."""
    found = families(busy(), accept)
    assert found["candescent_proxy_requests"].type == "counter"
    assert found["candescent_proxy_request_duration_seconds"].type == "histogram"
    assert found["candescent_proxy_token_expiry_timestamp_seconds"].type == "gauge"
    assert all(family.documentation for family in found.values())


@pytest.mark.parametrize("accept", FORMATS)
def test_empty_metrics_are_valid_too(accept: str) -> None:
    """Before the first request and token."""
    assert "candescent_proxy_requests" in families(Metrics(), accept)


def test_formats_agree() -> None:
    """Both have the same series and values."""
    metrics = busy()

    def ours(found: dict[str, Metric]) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
        return {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for name, family in found.items()
            for sample in family.samples
            if name.startswith("candescent_proxy_")
        }

    assert ours(families(metrics, "")) == ours(families(metrics, OPENMETRICS))


def test_content_types() -> None:
    """Current scrapers get OpenMetrics."""
    metrics = Metrics()
    assert metrics.exposition("")[1].startswith("text/plain; version=")
    accepted = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;q=0.2,*/*;q=0.1"
    text, content_type = metrics.exposition(accepted)
    assert content_type.startswith("application/openmetrics-text; version=1.0.0")
    assert text.endswith(b"# EOF\n")


@pytest.mark.parametrize("accept", FORMATS)
def test_exposition_is_made_family_by_family(accept: str) -> None:
    """So that requests are served in between."""
    parts, _ = busy().families(accept)
    counts = [part.count(b"# TYPE ") for part in parts]
    assert len(counts) > 40
    assert max(counts) <= 2  # the classic format has a second one for when a counter was created


def test_names_are_conventional() -> None:
    """Snake case, base units, ``_total`` on counters only, one prefix."""
    for name, family in families(busy(), OPENMETRICS).items():
        if name.startswith(("process_", "python_")):
            continue
        assert re.fullmatch(r"candescent_proxy(_[a-z]+)+", name)
        assert not re.search(r"_(ms|milliseconds|minutes|kb|count|sum|bucket|total)$", name)
        shown = {sample.name for sample in family.samples}
        if family.type == "counter":
            assert shown <= {f"{name}_total"}
        if family.type == "gauge":
            assert shown <= {name}
        if re.search(r"duration|timestamp|runway|wait_|lag", name):
            assert name.endswith("_seconds")


@pytest.mark.parametrize("accept", FORMATS)
def test_no_secret_is_exposed(accept: str) -> None:
    """Tokens are identified by key."""
    assert b"gBOL" not in busy().exposition(accept)[0]


def test_build_info() -> None:
    """Version and Python."""
    (sample,) = families(Metrics())["candescent_proxy_build_info"].samples
    assert (sample.labels["version"], sample.value) == (__version__, 1)
    assert re.fullmatch(r"3\.\d+\.\d+.*", sample.labels["python"])


async def test_metrics_of_a_life() -> None:
    """After a good request, a refused one and a failing bank every series is there."""
    async with (
        Sandbox() as bank,
        running(bank) as app,
        aiohttp.ClientSession(url(app)) as session,
    ):
        bank.bank.faults.append(Fault("resource", reset=True, method="POST"))
        for method, path in (("GET", "/echo"), ("POST", "/echo"), ("GET", "/oauth2/v1/token")):
            async with session.request(method, path) as response:
                _ = await response.read()
        await until(lambda: not app.forwarder.in_flight)
        errors = families(app.metrics)["candescent_proxy_errors"].samples
        assert {sample.labels["error_source"] for sample in errors} == {"upstream", "caller"}
        for name, expected in (
            ("ready", 1),
            ("requests_in_flight", 0),
            ("caller_connections", 1),
        ):
            assert value(app.metrics, name) == expected
        for count, expected in (("idle", 0), ("opened_total", 1)):
            found = value(app.metrics, f"upstream_connections_{count}", origin=bank.url)
            assert found == expected
        assert value(app.metrics, "token_refreshes_total", **LABELS, trigger="first") == 1
