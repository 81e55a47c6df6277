"""Spans, received by a real collector; and no overhead without one."""

import asyncio
import re
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from proxy.config import loader
from proxy.errors import ConfigError
from proxy.runtime.app import App
from proxy.sandbox import Fault, Sandbox, Settings
from tests.hazards.proxy_under_test import MARK
from tests.support.captured_log import captured_log
from tests.support.otlp_collector import OtlpCollector, ReceivedSpan
from tests.support.program import ANYWHERE, CREDENTIALS, program
from tests.support.proxy_fixture import proxy_fixture
from tests.support.raw_client import ask, connect
from tests.support.running import CLIENT, DEADLINE, make_app, running, until

NOBODY = "http://127.0.0.1:1/v1/traces"
MINIMAL = {"base_url": "http://127.0.0.1:1", "institution_id": "00016", **CLIENT}
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = "00f067aa0ba902b7"
CONTEXT = {"traceparent": f"00-{TRACE}-{PARENT}-01", "tracestate": "vendor=opaque,other=1"}
ID = "5f1d7a8e-0c54-4b1e-9d0a-6f2f6f7c1a77"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Export batches at once instead of after five seconds."""
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "20")


def get(path: str = "/v1/accounts", method: str = "GET", **headers: str) -> bytes:
    """Return a GET request."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n".encode()


def begun(span: ReceivedSpan) -> str:
    """Return the context of a span in a new trace: sampled, with a random id."""
    return f"00-{span.trace.hex()}-{span.id.hex()}-03"


class TracedProxy:
    """A collector, a bank, and a proxy."""

    def __init__(self, collector: OtlpCollector, bank: Sandbox, app: App) -> None:
        self.collector = collector
        self.bank = bank
        self.app = app

    async def served(self, sent: bytes = get()) -> tuple[ReceivedSpan, ReceivedSpan]:
        """Send a request; return its span and the span of the upstream exchange."""
        await ask(self.app, sent)
        await until(lambda: self.collector.of_kind("SERVER"))
        (server,) = self.collector.of_kind("SERVER")
        (client,) = self.collector.of_kind("CLIENT")
        return server, client

    def upstream(self, name: str) -> str | None:
        """Return a header as received by the bank."""
        return self.bank.bank.arrivals[-1].header(name)


@asynccontextmanager
async def traced_proxy(
    there: Settings | None = None, **overrides: Any
) -> AsyncIterator[TracedProxy]:
    """Run all three."""
    async with OtlpCollector() as collector, Sandbox(there) as bank:
        tracing = {"endpoint": collector.endpoint}
        async with running(bank, tracing=tracing, **overrides) as app:
            yield TracedProxy(collector, bank, app)


async def test_trace_is_propagated() -> None:
    """Caller, request, exchange and bank are parents in this order.

    tracestate is forwarded.
    """
    async with traced_proxy() as there:
        server, client = await there.served(get(**CONTEXT))
        assert server.trace.hex() == client.trace.hex() == TRACE
        assert server.parent.hex() == PARENT
        assert client.parent == server.id
        assert there.upstream("traceparent") == f"00-{TRACE}-{client.id.hex()}-01"
        assert there.upstream("tracestate") == CONTEXT["tracestate"]


async def test_trace_is_started() -> None:
    """For a caller without one."""
    async with traced_proxy() as there:
        server, client = await there.served()
        assert server.parent == b""
        assert there.upstream("traceparent") == begun(client)
        assert there.upstream("tracestate") is None


BROKEN: dict[str, bytes] = {
    "no trace": get(traceparent="hello", tracestate="vendor=1"),
    "all zeros": get(traceparent=f"00-{'0' * 32}-{PARENT}-01"),
    "two of them": get(**CONTEXT, TraceParent=f"00-{TRACE}-{PARENT}-00"),
}


@pytest.mark.parametrize("sent", BROKEN.values(), ids=BROKEN)
async def test_invalid_trace_is_replaced(sent: bytes) -> None:
    """As W3C Trace Context requires."""
    async with traced_proxy() as there:
        server, client = await there.served(sent)
        assert (server.parent, server.trace.hex() == TRACE) == (b"", False)
        assert there.upstream("traceparent") == begun(client)
        assert there.upstream("tracestate") is None


@pytest.mark.parametrize(
    "context",
    [
        {"traceparent": f"00-{TRACE}-{PARENT}-01", "tracestate": MARK},
        {"traceparent": f"00-{TRACE}-{PARENT}-01", "tracestate": f"a={MARK},a={MARK}"},
        {"traceparent": f"00-{TRACE}-{PARENT}-01", "tracestate": f"{MARK}=1," * 40},
        {"traceparent": f"00-{MARK}-{PARENT}-01"},
        {"traceparent": f"cc-{TRACE}-{PARENT}-01-{MARK}", "tracestate": f"a=1;{MARK}"},
        {"traceparent": "0" * 8000, "tracestate": "\t,,\t=" * 900},
    ],
    ids=("no pair", "twice the same", "too many", "no trace", "a later version", "long"),
)
async def test_hostile_context_is_harmless(context: dict[str, str]) -> None:
    """It adds nothing to the log."""
    with captured_log() as log:
        async with traced_proxy(log={"access": "on"}) as there:
            assert (await ask(there.app, get(**context))).status == 200
            await until(lambda: there.collector.of_kind("SERVER"))
        assert MARK not in log.getvalue()
        # A thread of an earlier test may still try to reach its collector.
        events = {line["event"] for line in log.lines() if "Transient" not in line["event"]}
        assert events == {"token refreshed", "request"}


async def test_context_with_invalid_bytes_is_refused() -> None:
    """Like any header."""
    async with traced_proxy() as there:
        sent = get(traceparent="x").replace(b": x\r\n", b": \xff\r\n")
        assert (await ask(there.app, sent)).error == "bad-header"


async def test_unsampled_trace_is_not_exported() -> None:
    """The bank gets the flag."""
    async with traced_proxy() as there:
        await ask(there.app, get(traceparent=f"00-{TRACE}-{PARENT}-00"))
        assert re.fullmatch(rf"00-{TRACE}-[0-9a-f]{{16}}-00", str(there.upstream("traceparent")))
        await there.served()  # the next request's spans have arrived, and would be later
        assert TRACE not in {span.trace.hex() for span in there.collector.spans}


async def test_attributes() -> None:
    """OpenTelemetry's HTTP conventions, and own names."""
    async with traced_proxy(Settings(base_path="/base")) as there:
        server, client = await there.served(
            get("/v1/accounts?hostUserId=880017", transactionId=ID, institutionId="00016")
        )
        assert server.name == client.name == "GET"
        assert not server.failed
        assert (
            server.attributes.items()
            >= {
                "http.request.method": "GET",
                "url.scheme": "http",
                "url.path": "/v1/accounts",
                "network.protocol.version": "1.1",
                "http.response.status_code": 200,
                "candescent.transaction_id": ID,
                "candescent.institution": "00016",
                "candescent.listener": "main",
                "candescent.route": "v2",
                "candescent.error.source": "none",
            }.items()
        )
        origin = there.bank.url.removesuffix("/base")
        assert client.attributes == {
            "http.request.method": "GET",
            "url.full": f"{origin}/base/v1/accounts",
            "server.address": "127.0.0.1",
            "server.port": int(origin.rpartition(":")[2]),
            "http.response.status_code": 200,
        }
        assert server.start <= client.start <= client.end <= server.end
        assert abs(server.start / 1e9 - time.time()) < 60
        assert there.collector.resource["service.name"] == "candescent-proxy"


async def test_spans_have_no_query_and_no_secret() -> None:
    """Nor credentials."""
    async with traced_proxy() as there:
        await there.served(get("/v1/accounts?memberNumber=12-3456789", Authorization="Bearer mine"))
        await until(lambda: there.collector.named("token refresh"))
        (token,) = there.bank.bank.live_tokens()
        for secret in (token.text, CLIENT["client_secret"], "mine", "12-3456789", "memberNumber"):
            assert secret.encode() not in there.collector.raw


async def test_token_at_the_start() -> None:
    """A background fetch has its own trace."""
    async with traced_proxy() as there:
        await until(lambda: there.collector.named("token refresh"))
        (span,) = there.collector.spans
        assert (span.kind, span.parent, span.failed) == ("INTERNAL", b"", False)
        assert span.attributes == {
            "candescent.token.kind": "v2",
            "candescent.institution": "00016",
        }


async def test_token_that_a_request_waits_for() -> None:
    """Wait and refresh are parts of the request's trace."""
    async with traced_proxy(allowed_institutions="00017") as there:
        server, client = await there.served(get(**CONTEXT, institutionId="00017"))
        (wait,) = there.collector.named("token wait")
        (refresh,) = [one for one in there.collector.named("token refresh") if one.parent]
        assert wait.parent == refresh.parent == server.id
        assert wait.trace.hex() == TRACE
        assert wait.attributes["candescent.institution"] == "00017"
        assert server.start <= wait.start <= wait.end <= client.start


async def test_token_error() -> None:
    """The reason is on the token's and the request's spans; there is no exchange."""
    async with traced_proxy(allowed_institutions="00019") as there:
        await ask(there.app, get(institutionId="00019"))
        await until(lambda: there.collector.of_kind("SERVER"))
        (server,) = there.collector.of_kind("SERVER")
        (wait,) = there.collector.named("token wait")
        (refresh,) = [one for one in there.collector.named("token refresh") if one.failed]
        assert wait.attributes["error.type"] == refresh.attributes["error.type"]
        assert refresh.attributes["error.type"] == "token-bad-institution"
        assert refresh.attributes["candescent.error.code"] == "CMN_90005"
        assert (server.failed, server.attributes["error.type"]) == (True, "token-bad-institution")
        assert server.attributes["candescent.error.source"] == "token"
        assert there.collector.of_kind("CLIENT") == []


async def test_replay() -> None:
    """The request has one exchange, marked as a replay."""
    async with traced_proxy(token={"min_interval": "0.001"}) as there:
        there.bank.bank.faults.append(Fault("resource", code="CMN_90018", times=1))
        _, client = await there.served()
        assert client.attributes["http.request.resend_count"] == 1
        assert client.attributes["http.response.status_code"] == 200


async def test_error_of_the_bank() -> None:
    """A 4xx is an error of the exchange only, a 5xx of the request too."""
    for code, failed in ((404, False), (500, True)):
        async with traced_proxy() as there:
            there.bank.bank.faults.append(Fault("resource", status=code))
            server, client = await there.served()
            assert (server.failed, client.failed) == (failed, True)
            assert client.attributes["error.type"] == str(code)
            assert server.attributes.get("error.type") == (str(code) if failed else None)


@pytest.mark.parametrize(
    ("fault", "status"),
    [
        (Fault("resource", reset=True), {502}),
        (Fault("resource", cut=True), {200, None}),
    ],
    ids=["no answer", "half an answer"],
)
async def test_failed_exchange(fault: Fault, status: set[int | None]) -> None:
    """Both spans have the reason."""
    async with traced_proxy() as there:
        there.bank.bank.faults.append(fault)
        async with connect(there.app) as wire:
            await wire.send(get())
            await wire.ends_with_reset() if fault.cut else await wire.read_response()
        await until(lambda: there.collector.of_kind("SERVER"))
        (server,), (client,) = map(there.collector.of_kind, ("SERVER", "CLIENT"))
        assert server.failed
        assert client.failed
        assert client.attributes["error.type"] == server.attributes["error.type"]
        assert server.attributes["http.response.status_code"] in status


async def test_refused_caller_is_in_its_trace() -> None:
    """A 4xx is not an error."""
    async with traced_proxy() as there:
        await ask(there.app, get("/oauth2/v1/token", "POST", **CONTEXT))
        await until(lambda: there.collector.of_kind("SERVER"))
        (server,) = there.collector.of_kind("SERVER")
        assert (server.parent.hex(), server.failed) == (PARENT, False)
        assert server.attributes["http.response.status_code"] == 403
        assert server.attributes["candescent.error.source"] == "caller"


async def test_unknown_method() -> None:
    """It is ``_OTHER``, so that names are few."""
    async with traced_proxy() as there:
        await ask(there.app, get(method="PROPFIND"))
        await until(lambda: there.collector.of_kind("SERVER"))
        (server,) = there.collector.of_kind("SERVER")
        assert server.name == "HTTP"
        assert server.attributes["http.request.method"] == "_OTHER"
        assert server.attributes["http.request.method_original"] == "PROPFIND"


async def test_unreadable_request_has_no_span() -> None:
    """The request before it is not affected."""
    with captured_log() as log:
        async with traced_proxy() as there:
            async with connect(there.app) as wire:
                assert (await wire.ask(get(**CONTEXT))).status == 200
                assert (await wire.ask(b"no request\r\n\r\n")).status == 400
            await there.app.stop()
            assert len(there.collector.of_kind("SERVER")) == 1
        assert "ended span" not in log.getvalue()  # the SDK's warning about a finished span


async def test_last_spans_are_exported_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """During shutdown."""
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "3600000")
    async with OtlpCollector() as collector, Sandbox() as bank:
        async with running(bank, tracing={"endpoint": collector.endpoint}) as app:
            assert (await ask(app)).status == 200
            assert collector.spans == []
        assert len(collector.of_kind("SERVER")) == 1


@asynccontextmanager
async def silent() -> AsyncIterator[str]:
    """Accept connections and never respond; close them at the end."""
    taken: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(lambda _, writer: taken.append(writer), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}/v1/traces"
    finally:
        server.close()
        for writer in taken:
            writer.transport.abort()


async def test_silent_collector_does_not_affect_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spans are dropped with a warning, and the shutdown is not delayed."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "3600")
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "8")
    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "4")
    with captured_log() as log:
        async with silent() as endpoint, Sandbox() as bank, asyncio.timeout(DEADLINE):
            async with running(bank, tracing={"endpoint": endpoint}) as app, connect(app) as wire:
                for _ in range(30):
                    assert (await wire.ask()).status == 200
            assert "Queue full, dropping Span." in log.getvalue()


async def test_missing_collector_is_a_warning() -> None:
    """No request fails."""
    with captured_log() as log:
        async with Sandbox() as bank, running(bank, tracing={"endpoint": NOBODY}) as app:
            assert (await ask(app)).status == 200
            await until(lambda: "exporting spans batch" in log.getvalue())
            assert (await ask(app)).status == 200


# Without tracing.


async def test_context_is_forwarded_unchanged() -> None:
    """Byte for byte, valid or not."""
    async with Sandbox() as bank, running(bank) as app:
        for context in (CONTEXT, {"TraceParent": "hello", "tracestate": " = "}):
            await ask(app, get(**context))
            came = dict(bank.bank.arrivals[-1].headers)
            sent = {name.encode(): value.strip().encode() for name, value in context.items()}
            assert came.items() >= sent.items()


async def loaded_by_a_run(**variables: str) -> set[str]:
    """Run the program, serve one request, and return all imported modules."""
    async with Sandbox() as bank:
        variables |= CREDENTIALS | {"PYTHONPROFILEIMPORTTIME": "1"}
        run = ("run", "--base-url", bank.url, *ANYWHERE, "--log-format", "json")
        async with program(*run, **variables) as proxy:
            listening = await proxy.wait_for_event("listening")
            async with aiohttp.request("GET", f"http://{listening['listen']}/echo") as response:
                assert response.status == 200
            assert await proxy.end(signal.SIGTERM) == 0
            return {line.rpartition("|")[2].strip() for line in proxy.err}


async def test_opentelemetry_is_imported_on_demand() -> None:
    """Only with an endpoint."""
    off = await loaded_by_a_run()
    assert {"proxy.forwarding.forwarder", "proxy.runtime.app"} <= off
    assert [name for name in off if name.startswith("opentelemetry")] == []
    assert "proxy.telemetry.tracing" not in off
    async with OtlpCollector() as collector:
        endpoint = collector.endpoint.removesuffix("/v1/traces")
        on = await loaded_by_a_run(OTEL_EXPORTER_OTLP_ENDPOINT=endpoint)
        assert {"opentelemetry.sdk.trace", "proxy.telemetry.tracing"} <= on
        assert collector.of_kind("SERVER")


# Endpoints.


@pytest.mark.parametrize(
    ("environ", "endpoint"),
    [
        ({}, None),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318/"}, "http://c:4318/v1/traces"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, None),
        (
            {
                "OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318",
                "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://t:4318/spans",
            },
            "http://t:4318/spans",
        ),
        (
            {
                "OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318",
                "CANDESCENT_TRACING__ENDPOINT": "http://own:4318/v1/traces",
            },
            "http://own:4318/v1/traces",
        ),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", "OTEL_SDK_DISABLED": "TRUE"}, None),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", "OTEL_TRACES_EXPORTER": "none"}, None),
    ],
)
def test_endpoint(environ: dict[str, str], endpoint: str | None) -> None:
    """OpenTelemetry's variables are supported; the setting has precedence."""
    assert loader.load(None, environ, MINIMAL).tracing.endpoint == endpoint


def test_invalid_endpoint_is_a_configuration_error() -> None:
    """Like any setting."""
    with pytest.raises(ConfigError) as caught:
        loader.load(None, {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "collector:4317"}, MINIMAL)
    (error,) = caught.value.errors
    assert error.startswith("tracing.endpoint: expected http://HOST[:PORT][/PATH] or https://…")


async def test_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is opened."""
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    monkeypatch.delitem(sys.modules, "proxy.telemetry.tracing", raising=False)
    with pytest.raises(ConfigError, match=r"install candescent-proxy\[otel\]"):
        make_app(NOBODY, tracing={"endpoint": NOBODY})


async def test_invalid_variable_of_the_sdk_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a traceback."""
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "-1")
    with pytest.raises(ConfigError, match="a variable OTEL_… is invalid"):
        make_app(NOBODY, tracing={"endpoint": NOBODY})


async def test_changed_endpoint_needs_a_restart(tmp_path: Path) -> None:
    """The reload is refused."""
    secret = tmp_path / "client-secret"
    secret.write_text(CLIENT["client_secret"])
    async with proxy_fixture(tmp_path / "config.yaml", client_secret_file=str(secret)) as fixture:
        fixture.write(tracing={"endpoint": NOBODY})
        await fixture.wait_for_failed_reload()
        assert "tracing: changed; restart the proxy to apply it" in fixture.warnings()[0]
