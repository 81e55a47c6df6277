"""OpenTelemetry spans of requests, token calls and exchanges with the bank.

Imported only if ``tracing.endpoint`` is set; needs ``candescent-proxy[otel]``. A request's span
starts first, because its id is sent upstream; the others are made afterwards, from the record and
the events. A thread of the SDK sends spans in batches; when its queue is full, they are dropped.
"""

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass
from urllib.parse import SplitResult

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.trace import (
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    set_span_in_context,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.util.types import AttributeValue

from proxy import __version__
from proxy.errors import Source, TokenError
from proxy.forwarding.paths import has_base
from proxy.forwarding.record import RequestRecord
from proxy.http1.fields import RawHeaders
from proxy.server.messages import Request, RequestHandler, Response
from proxy.tasks import in_thread
from proxy.telemetry.events import Event
from proxy.tokens.events import TokenRefreshed, TokenRefreshFailed
from proxy.tokens.token import TokenKey

Attributes = dict[str, AttributeValue]

FLUSH = 2.0
"""Seconds to send the last spans at shutdown."""

_CONTEXT = (b"traceparent", b"tracestate")
_METHODS = frozenset(
    {"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY", "TRACE"}
)


@dataclass(frozen=True, slots=True)
class Trace:
    """The span of a running request, and the id of its exchange's span, which is sent upstream.

    ``epoch`` is the wall clock, in nanoseconds, at 0 of the monotonic clock.
    """

    span: Span
    upstream: SpanContext
    epoch: int

    def wall(self, seconds: float) -> int:
        """Convert monotonic seconds to nanoseconds of the wall clock."""
        return self.epoch + int(seconds * 1e9)


# Tasks that a request starts inherit it, so that a token call belongs to the request's trace.
_current: ContextVar[Trace | None] = ContextVar("trace", default=None)


class _Ids(RandomIdGenerator):
    """Gives the next span the id ``chosen``, if it has been sent upstream already."""

    chosen = 0

    def generate_span_id(self) -> int:
        chosen, self.chosen = self.chosen, 0
        return chosen or super().generate_span_id()


class Tracing:
    """Makes spans. ``base`` returns the API's base URL.

    The SDK's own variables (``OTEL_SERVICE_NAME``, ``OTEL_TRACES_SAMPLER``, headers and timeout
    of the exporter, bounds of the queue) apply.
    """

    def __init__(self, endpoint: str, base: Callable[[], SplitResult]) -> None:
        self._base = base
        self._ids = _Ids()
        self._context = TraceContextTextMapPropagator()
        named = OTELResourceDetector().detect().attributes
        service: Attributes = {"service.name": "candescent-proxy", "service.version": __version__}
        self._provider = TracerProvider(
            resource=Resource.create({**service, **named}),
            id_generator=self._ids,
            shutdown_on_exit=False,
        )
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint)))
        self._tracer = self._provider.get_tracer("candescent-proxy", __version__)
        # It quotes invalid trace contexts, and callers must not be able to write into the log.
        logging.getLogger("opentelemetry.trace").setLevel(logging.ERROR)

    def wrap(self, handle: RequestHandler) -> RequestHandler:
        """Return ``handle`` within a span, with the trace context for the bank on the request."""

        async def traced(request: Request) -> Response:
            trace = self._begin(request)
            _current.set(trace)
            try:
                return await handle(request.with_headers(self._outbound(request, trace)))
            finally:
                _current.set(None)

        return traced

    def request(self, record: RequestRecord) -> None:
        """End the span of a request, and make the spans of its waits and its exchange.

        Invalid requests have no span.
        """
        trace = _current.get()
        if trace is None:
            return
        if record.token_wait:
            self._wait(record, trace)
        if record.sent_at:
            self._exchange(record, trace)
        trace.span.set_attributes(_inbound(record))
        if record.is_aborted or record.status >= 500:
            _fail(trace.span, record.reason or ("cut" if record.is_aborted else str(record.status)))
        trace.span.end(trace.wall(record.finished_at))

    def event(self, event: Event) -> None:
        """Make the span of a token call, as a child of the request that needed it."""
        match event:
            case TokenRefreshed(token, seconds):
                self._refresh(token.key, seconds, None)
            case TokenRefreshFailed(key, error, seconds):
                self._refresh(key, seconds, error)

    async def close(self) -> None:
        """Send the remaining spans, for at most ``FLUSH`` seconds."""
        with suppress(TimeoutError):
            await in_thread(self._provider.shutdown, FLUSH)

    def _begin(self, request: Request) -> Trace:
        epoch = time.time_ns() - time.monotonic_ns()
        span = self._tracer.start_span(
            _name(request.method),
            self._context.extract(_carrier(request.headers)),
            SpanKind.SERVER,
            {
                "url.scheme": "https" if request.connection.is_tls else "http",
                "network.protocol.version": "{}.{}".format(*request.version),
            },
        )
        own = span.get_span_context()
        upstream = SpanContext(
            own.trace_id, self._ids.generate_span_id(), False, own.trace_flags, own.trace_state
        )
        return Trace(span, upstream, epoch)

    def _outbound(self, request: Request, trace: Trace) -> list[tuple[bytes, bytes]]:
        carrier: dict[str, str] = {}
        self._context.inject(carrier, set_span_in_context(NonRecordingSpan(trace.upstream)))
        headers = [
            (name, value)
            for name, value in request.headers
            # An invalid header is left for the forwarder to refuse.
            if name.lower() not in _CONTEXT or not value.isascii()
        ]
        return headers + [(name.encode("ascii"), text.encode()) for name, text in carrier.items()]

    def _wait(self, record: RequestRecord, trace: Trace) -> None:
        """Make the span of a request's wait for a token, which follows the preparation."""
        began = record.started_at + record.preparation_wait
        span = self._tracer.start_span(
            "token wait",
            set_span_in_context(trace.span),
            attributes=_token(str(record.route), record.institution),
            start_time=trace.wall(began),
        )
        if record.source is Source.TOKEN:
            _fail(span, record.reason)
        span.end(trace.wall(began + record.token_wait))

    def _refresh(self, key: TokenKey, seconds: float, error: TokenError | None) -> None:
        """Make the span of a token call that ends now."""
        trace, now = _current.get(), time.time_ns()
        span = self._tracer.start_span(
            "token refresh",
            None if trace is None else set_span_in_context(trace.span),
            attributes=_token(str(key.kind), key.institution),
            start_time=now - int(seconds * 1e9),
        )
        if error is not None:
            _fail(span, error.kind.name)
            if error.code is not None:
                span.set_attribute("candescent.error.code", error.code)
        span.end(now)

    def _exchange(self, record: RequestRecord, trace: Trace) -> None:
        """Make the span of the last exchange, with the number of earlier ones."""
        is_answered = record.source is Source.NONE or record.is_aborted
        attributes = _method(record.method) | self._target(record.path)
        if record.replays:
            attributes["http.request.resend_count"] = record.replays
        if is_answered and record.status:
            attributes["http.response.status_code"] = record.status
        self._ids.chosen = trace.upstream.span_id
        span = self._tracer.start_span(
            _name(record.method),
            set_span_in_context(trace.span),
            SpanKind.CLIENT,
            attributes,
            start_time=trace.wall(record.sent_at),
        )
        if record.source is Source.UPSTREAM:
            _fail(span, record.reason)
        elif is_answered and record.status >= 400:
            _fail(span, str(record.status))
        # Other errors happened outside the exchange.
        over = record.finished_at if is_answered else record.responded_at or record.finished_at
        span.end(trace.wall(over))

    def _target(self, path: str) -> Attributes:
        base = self._base()
        if not has_base(path.encode("latin-1"), base.path.encode("ascii")):
            path = base.path + path
        return {
            "url.full": f"{base.scheme}://{base.netloc}{path}",
            "server.address": str(base.hostname),
            "server.port": base.port or (443 if base.scheme == "https" else 80),
        }


def _carrier(headers: RawHeaders) -> dict[str, Sequence[str]]:
    """Return the caller's trace context; empty if there are several ``traceparent`` headers."""
    values: dict[str, list[str]] = {name.decode("ascii"): [] for name in _CONTEXT}
    for name, value in headers:
        if name.lower() in _CONTEXT:
            values[name.lower().decode("ascii")].append(value.decode("latin-1"))
    return dict(values) if len(values["traceparent"]) == 1 else {}


def _name(method: str) -> str:
    return method if method in _METHODS else "HTTP"


def _method(method: str) -> Attributes:
    if method in _METHODS:
        return {"http.request.method": method}
    return {"http.request.method": "_OTHER", "http.request.method_original": method}


def _token(kind: str, institution: str) -> Attributes:
    return {"candescent.token.kind": kind, "candescent.institution": institution}


def _inbound(record: RequestRecord) -> Attributes:
    """Return a request's attributes by OpenTelemetry's names, without query and secrets."""
    attributes = _method(record.method) | {
        "url.path": record.path,
        "http.response.status_code": record.status,
        "http.request.body.size": record.sent_bytes,
        "http.response.body.size": record.received_bytes,
        "candescent.transaction_id": record.transaction_id,
        "candescent.institution": record.institution,
        "candescent.listener": record.listener,
        "candescent.route": str(record.route),
        "candescent.error.source": str(record.source),
    }
    if not record.status:
        del attributes["http.response.status_code"]
    return attributes


def _fail(span: Span, kind: str) -> None:
    span.set_attribute("error.type", kind)
    span.set_status(Status(StatusCode.ERROR))
