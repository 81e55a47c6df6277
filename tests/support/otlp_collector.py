"""An OTLP endpoint over HTTP that records the spans and metrics it receives."""

from types import TracebackType
from typing import Any, Self

from aiohttp import web
from aiohttp.test_utils import TestServer
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric
from opentelemetry.proto.trace.v1.trace_pb2 import Span


def plain(attributes: Any) -> dict[str, Any]:
    """Return attributes as a dictionary."""
    values: dict[str, Any] = {}
    for pair in attributes:
        assert isinstance(pair, KeyValue)
        value: AnyValue = pair.value
        values[pair.key] = getattr(value, str(value.WhichOneof("value")))
    return values


class ReceivedSpan:
    """A received span. Times are nanoseconds; ids are bytes, ``parent`` empty for a root span."""

    def __init__(self, span: Span) -> None:
        self.name = span.name
        self.kind = Span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_")
        self.trace, self.id, self.parent = span.trace_id, span.span_id, span.parent_span_id
        self.start, self.end = span.start_time_unix_nano, span.end_time_unix_nano
        self.failed = span.status.code == 2
        self.attributes = plain(span.attributes)


class OtlpCollector:
    """Listens on a free port. ``raw`` has all received bodies in one piece.

    ``pushes`` are the received metrics by name, a dictionary for each request.
    """

    def __init__(self) -> None:
        self.spans: list[ReceivedSpan] = []
        self.resource: dict[str, Any] = {}
        self.raw = b""
        self.pushes: list[dict[str, Metric]] = []
        app = web.Application()
        app.router.add_post("/v1/traces", self._receive)
        app.router.add_post("/v1/metrics", self._receive_metrics)
        self._server = TestServer(app)

    @property
    def endpoint(self) -> str:
        """The URL that spans are sent to."""
        return str(self._server.make_url("/v1/traces"))

    @property
    def metrics_endpoint(self) -> str:
        """The URL that metrics are sent to."""
        return str(self._server.make_url("/v1/metrics"))

    def named(self, name: str) -> list[ReceivedSpan]:
        """Return the spans with this name."""
        return [span for span in self.spans if span.name == name]

    def of_kind(self, kind: str) -> list[ReceivedSpan]:
        """Return the spans of this kind: ``SERVER``, ``CLIENT`` or ``INTERNAL``."""
        return [span for span in self.spans if span.kind == kind]

    async def __aenter__(self) -> Self:
        """Open the port."""
        await self._server.start_server()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close it."""
        await self._server.close()

    async def _receive(self, request: web.Request) -> web.Response:
        body = await request.read()
        self.raw += body
        sent = ExportTraceServiceRequest.FromString(body)
        for resource in sent.resource_spans:
            self.resource = plain(resource.resource.attributes)
            for scope in resource.scope_spans:
                self.spans += map(ReceivedSpan, scope.spans)
        response = ExportTraceServiceResponse().SerializeToString()
        return web.Response(body=response, content_type="application/x-protobuf")

    async def _receive_metrics(self, request: web.Request) -> web.Response:
        sent = ExportMetricsServiceRequest.FromString(await request.read())
        for resource in sent.resource_metrics:
            self.resource = plain(resource.resource.attributes)
            for scope in resource.scope_metrics:
                self.pushes.append({metric.name: metric for metric in scope.metrics})
        response = ExportMetricsServiceResponse().SerializeToString()
        return web.Response(body=response, content_type="application/x-protobuf")
