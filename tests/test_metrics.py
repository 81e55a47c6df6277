"""Metrics: what is counted, under which names, and that no caller can make them grow."""

import asyncio
import re
from collections.abc import Callable, Iterable
from typing import Any

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import Metric
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families as classic

from proxy import __version__
from proxy.errors import Source, TokenError, TokenFailure
from proxy.facts import (
    Reloaded,
    ReloadFailed,
    RequestRecord,
    TokenRefreshed,
    TokenRefreshFailed,
    TokenRejected,
    TokenReleased,
)
from proxy.metrics import BUCKETS, Metrics
from proxy.sandbox import Fault, Sandbox
from proxy.tokens.token import Moment, Token, TokenKey, TokenKind
from tests.running import running, until, url

KEY = TokenKey(TokenKind.V2, "00016")
OTHER = TokenKey(TokenKind.V1, "00017")
LABELS = {"kind": "v2", "institution": "00016"}

Parse = Callable[[str], Iterable[Metric]]
FORMATS: dict[str, Parse] = {
    "": classic,
    "application/openmetrics-text; version=1.0.0": openmetrics.text_string_to_metric_families,
}


def record(**changes: Any) -> RequestRecord:
    """Return a good request of 20 milliseconds."""
    made = RequestRecord("GET", b"/v1/accounts", 10.0)
    usual = {
        "route": "v2",
        "status": 200,
        "finished_at": 10.02,
        "sent_bytes": 5,
        "received_bytes": 700,
    }
    for name, value in (usual | changes).items():
        setattr(made, name, value)
    return made


def token(key: TokenKey = KEY, wall: float = 1_800_000_000) -> Token:
    """Return a token of an hour."""
    return Token(key, "gBOL-secret", Moment(1, wall), 3600)


def families(metrics: Metrics, accept: str = "") -> dict[str, Metric]:
    """Return what is exposed, read back by Prometheus's own parser."""
    text, _ = metrics.exposition(accept)
    return {family.name: family for family in FORMATS[accept](text.decode())}


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    """Return the value of a series, or None where there is none."""
    for family in families(metrics).values():
        for sample in family.samples:
            if sample.name == f"candescent_proxy_{name}" and sample.labels == labels:
                return float(sample.value)
    return None


def busy() -> Metrics:
    """Return metrics after a bit of everything."""
    metrics = Metrics()
    failed = TokenError(TokenFailure.SERVER, "It failed.")
    metrics.fact(TokenRefreshed(token(), 0.1, 3300))
    metrics.fact(TokenRefreshFailed(KEY, failed, 0.1, 1, 1))
    metrics.fact(TokenRejected(token(), dropped=True))
    metrics.watch("ready", "Whether it is.", lambda: 1.0)
    metrics.request(record())
    metrics.request(record(source=Source.UPSTREAM, reason="upstream-closed", status=502))
    return metrics


# The exposition.


@pytest.mark.parametrize("accept", FORMATS)
def test_prometheus_can_read_it(accept: str) -> None:
    """Both formats are read back by the parser of Prometheus's own library."""
    found = families(busy(), accept)
    assert found["candescent_proxy_requests"].type == "counter"
    assert found["candescent_proxy_request_duration_seconds"].type == "histogram"
    assert found["candescent_proxy_token_expiry_timestamp_seconds"].type == "gauge"
    assert all(family.documentation for family in found.values())


@pytest.mark.parametrize("accept", FORMATS)
def test_nothing_yet_is_readable_too(accept: str) -> None:
    """Before the first request and the first token there is something to scrape."""
    assert "candescent_proxy_requests" in families(Metrics(), accept)


def test_content_types() -> None:
    """The answer says which format it is in, and a scraper of today gets OpenMetrics."""
    metrics = Metrics()
    assert metrics.exposition("")[1].startswith("text/plain; version=")
    accepted = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;q=0.2,*/*;q=0.1"
    text, content_type = metrics.exposition(accepted)
    assert content_type.startswith("application/openmetrics-text; version=1.0.0")
    assert text.endswith(b"# EOF\n")


def test_names_are_conventional() -> None:
    """Snake case, base units at the end, ``_total`` on counters only, one prefix for ours."""
    for name, family in families(busy(), list(FORMATS)[1]).items():
        if name.startswith(("process_", "python_")):
            continue
        assert re.fullmatch(r"candescent_proxy(_[a-z]+)+", name)
        assert not re.search(r"_(ms|milliseconds|minutes|kb|count|sum|bucket|total)$", name)
        plain = {sample.name for sample in family.samples if not sample.name.endswith("_created")}
        if family.type == "counter":
            assert plain <= {f"{name}_total"}
        if family.type == "gauge":
            assert plain <= {name}
        if re.search(r"duration|timestamp|runway", name):
            assert name.endswith("_seconds")


def test_no_secret_is_exposed() -> None:
    """A token is known to the metrics by its key only."""
    assert b"gBOL" not in busy().exposition("")[0]


# Requests.


def test_request_is_counted_once() -> None:
    """By method, route, status and whose error it was."""
    metrics = Metrics()
    for _ in range(3):
        metrics.request(record())
    labels = {"method": "GET", "route": "v2", "status": "200", "error_source": "none"}
    assert value(metrics, "requests_total", **labels) == 3


def test_durations_fall_into_their_buckets() -> None:
    """Each bucket holds all that took no longer than its bound; the sum is in seconds."""
    metrics = Metrics()
    for seconds in (0.0005, 0.001, 0.02, 3, 100):
        metrics.request(record(finished_at=10 + seconds))
    family = families(metrics)["candescent_proxy_request_duration_seconds"]
    found = {s.labels["le"]: s.value for s in family.samples if s.name.endswith("_bucket")}
    assert [float(bound) for bound in found] == [*BUCKETS, float("inf")]
    assert (found["0.001"], found["0.025"], found["60.0"], found["+Inf"]) == (2, 3, 4, 5)
    sums = [s.value for s in family.samples if s.name.endswith("_sum")]
    assert sums == [pytest.approx(103.0215)]


def test_bytes_replays_and_cuts() -> None:
    """What bodies weighed in each direction, what was sent twice, what broke off."""
    metrics = Metrics()
    metrics.request(record(replays=1))
    metrics.request(record(cut=True))
    assert value(metrics, "body_bytes_total", direction="received") == 10
    assert value(metrics, "body_bytes_total", direction="sent") == 1400
    assert value(metrics, "replays_total") == 1
    assert value(metrics, "requests_cut_total") == 1


def test_errors_by_reason() -> None:
    """What the proxy answers itself is counted by whose error it was, and which."""
    metrics = Metrics()
    for reason in ("upstream-tls", "upstream-connect-timeout", "upstream-tls"):
        metrics.request(record(source=Source.UPSTREAM, reason=reason, status=502))
    metrics.request(record())
    tls = {"error_source": "upstream", "reason": "upstream-tls"}
    assert value(metrics, "errors_total", **tls) == 2
    assert len(families(metrics)["candescent_proxy_errors"].samples) == 2


@given(st.lists(st.text(max_size=20), max_size=50))
def test_methods_are_bounded(methods: list[str]) -> None:
    """Whatever callers call their methods, there are eight series at most."""
    metrics = Metrics()
    for method in methods:
        metrics.request(record(method=method))
    samples = families(metrics)["candescent_proxy_requests"].samples
    known = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "other"}
    assert {sample.labels["method"] for sample in samples} <= known
    assert sum(sample.value for sample in samples) == len(methods)


async def test_hostile_callers_make_no_series() -> None:
    """A hundred strange requests over sockets leave as many series as one of each kind."""
    async with (
        Sandbox() as bank,
        running(bank) as app,
        aiohttp.ClientSession(url(app)) as session,
    ):

        def series() -> set[tuple[str, ...]]:
            samples = families(app.metrics)["candescent_proxy_requests"].samples
            errors = families(app.metrics)["candescent_proxy_errors"].samples
            return {tuple(sample.labels.values()) for sample in (*samples, *errors)}

        async def strange(number: int) -> None:
            headers = {"institutionId": f"9{number:04}", "transactionId": f"t{number}"}
            for method in ("GET", f"M{number}", "TRACE"):
                async with session.request(method, f"/p{number}?q={number}") as answer:
                    _ = await answer.read()
            async with session.get(f"/echo/{number}", headers=headers) as answer:
                _ = await answer.read()
            _, writer = await asyncio.open_connection(str(app.data_address.host), port)
            writer.write(f"\x01{number} / HTTP/1.1\r\n\r\n".encode())
            writer.close()
            await writer.wait_closed()

        port = app.data_address.port
        await strange(0)
        await until(lambda: any("unreadable" in labels for labels in series()))
        before = series()
        for number in range(1, 100):
            await strange(number)
        assert series() == before


# Tokens.


def test_refresh_is_told_in_timestamps() -> None:
    """When the token in use was issued and when it expires, in Unix time, by key."""
    metrics = Metrics()
    metrics.fact(TokenRefreshed(token(), 0.2, 3300))
    assert value(metrics, "token_last_success_timestamp_seconds", **LABELS) == 1_800_000_000
    assert value(metrics, "token_expiry_timestamp_seconds", **LABELS) == 1_800_003_600
    assert value(metrics, "token_refreshes_total", **LABELS) == 1
    assert value(metrics, "token_refresh_duration_seconds_count", kind="v2") == 1


def test_failure_is_told_by_reason() -> None:
    """Failures count up by reason, and in a row until one succeeds."""
    metrics = Metrics()
    error = TokenError(TokenFailure.THROTTLED, "Too much.")
    for failures in (1, 2):
        metrics.fact(TokenRefreshFailed(KEY, error, 0.1, failures, 10))
    assert value(metrics, "token_refresh_failures_total", reason="throttled", **LABELS) == 2
    assert value(metrics, "token_consecutive_failures", **LABELS) == 2
    metrics.fact(TokenRefreshed(token(), 0.1, 3300))
    assert value(metrics, "token_consecutive_failures", **LABELS) == 0
    assert value(metrics, "token_refresh_duration_seconds_count", kind="v2") == 3


def test_rejections_tell_whether_the_token_was_dropped() -> None:
    """A refusal of the current token and a late one are two things."""
    metrics = Metrics()
    for dropped in (True, False, False):
        metrics.fact(TokenRejected(token(), dropped=dropped))
    assert value(metrics, "token_rejections_total", dropped="true", **LABELS) == 1
    assert value(metrics, "token_rejections_total", dropped="false", **LABELS) == 2


def test_released_key_leaves_no_gauge() -> None:
    """A token that was let go has no expiry any more; another key's stays."""
    metrics = Metrics()
    for key in (KEY, OTHER):
        metrics.fact(TokenRefreshed(token(key), 0.1, 3300))
    metrics.fact(TokenReleased(KEY))
    metrics.fact(TokenReleased(KEY))
    assert value(metrics, "token_expiry_timestamp_seconds", **LABELS) is None
    assert value(metrics, "token_expiry_timestamp_seconds", kind="v1", institution="00017")


# The rest.


def test_reloads_by_what_came_of_them() -> None:
    """A change that is not taken shows until one is."""
    metrics = Metrics()
    assert value(metrics, "last_reload_successful") == 1
    metrics.fact(ReloadFailed("file", "listen: changed."))
    assert value(metrics, "last_reload_successful") == 0
    metrics.fact(Reloaded("file"))
    assert value(metrics, "last_reload_successful") == 1
    assert value(metrics, "reloads_total", result="refused") == 1
    assert value(metrics, "reloads_total", result="taken") == 1


def test_runway_is_read_when_asked() -> None:
    """How long the tokens last is a number of this moment, for each key that there is."""
    metrics = Metrics()
    left = {KEY: 60.0, OTHER: 0.0}
    metrics.watch_runway(left.items)
    assert value(metrics, "token_runway_seconds", **LABELS) == 60
    left[KEY] = 30.0
    assert value(metrics, "token_runway_seconds", **LABELS) == 30
    del left[OTHER]
    assert value(metrics, "token_runway_seconds", kind="v1", institution="00017") is None


def test_refused_requests_that_were_not_sent_again() -> None:
    """A refused token whose request could not be replayed is told from one whose was."""
    metrics = Metrics()
    metrics.request(record(refused=True))
    metrics.request(record(refused=True, replays=1))
    assert value(metrics, "refused_not_replayed_total") == 1
    assert value(metrics, "replays_total") == 1


def test_watched_number_is_read_when_asked() -> None:
    """A gauge shows what is, not what was when it was set up."""
    metrics = Metrics()
    seen = 1
    metrics.watch("requests_in_flight", "Requests being served.", lambda: float(seen))
    assert value(metrics, "requests_in_flight") == 1
    seen = 2
    assert value(metrics, "requests_in_flight") == 2


def test_build_info() -> None:
    """Which version runs."""
    assert value(Metrics(), "build_info", version=__version__) == 1


async def test_operator_sees_the_life_of_the_proxy() -> None:
    """After a good request, a refused one and a failing bank, every promised series tells it."""
    async with (
        Sandbox() as bank,
        running(bank) as app,
        aiohttp.ClientSession(url(app)) as session,
    ):
        bank.bank.faults.append(Fault("resource", reset=True, method="POST"))
        for method, path in (("GET", "/echo"), ("POST", "/echo"), ("GET", "/oauth2/v1/token")):
            async with session.request(method, path) as answer:
                _ = await answer.read()
        await until(lambda: not app.forwarder.in_flight)
        errors = families(app.metrics)["candescent_proxy_errors"].samples
        assert {sample.labels["error_source"] for sample in errors} == {"upstream", "caller"}
        for name, expected in (
            ("ready", 1),
            ("requests_in_flight", 0),
            ("upstream_connections_idle", 0),
        ):
            assert value(app.metrics, name) == expected
        assert value(app.metrics, "token_refreshes_total", **LABELS) == 1
