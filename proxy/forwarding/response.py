"""Writes responses to callers: the bank's, or an error of the proxy."""

import time
from http import HTTPStatus

from proxy.errors import ProxyError, problem_response
from proxy.forwarding.browser_policy import cors_lines, preflight_lines, without_cors
from proxy.forwarding.context import RequestContext
from proxy.forwarding.headers import CallerHeaders, ResponseHeaders
from proxy.forwarding.json_links import JsonLinkRewriter, drop_body_digests, is_rewritable
from proxy.forwarding.record import RequestRecord
from proxy.http1.writer import LAST_CHUNK, chunk, persistence_line, response_framing, response_head
from proxy.server.messages import Request, Response
from proxy.upstream.connection import Connection, ConnectionState
from proxy.upstream.response_parser import ResponseHead

HEAD_DELAY = 0.05
"""Seconds that the head of a response waits for the first block of its body, to go out with it."""


class ResponseAbortedError(Exception):
    """A response broke off after its head was sent, so no error response can be sent.

    ``error`` is the cause.
    """

    def __init__(self, error: ProxyError) -> None:
        super().__init__(error.detail)
        self.error = error


class ResponseWriter:
    """Writes responses. ``rewrites_links``: the bank's URLs in JSON bodies are rewritten too.

    ``draining`` is set at shutdown: connections close after their response.
    """

    def __init__(self, *, rewrites_links: bool) -> None:
        self._rewrites_links = rewrites_links
        self.draining = False

    async def write_response(
        self,
        context: RequestContext,
        connection: Connection,
        response: ResponseHead,
        headers: ResponseHeaders,
    ) -> Response:
        """Write the bank's response: in one piece if it has arrived completely, else streamed.

        Raises ``ProxyError`` when it breaks off before any byte of it has been sent, and
        ``ResponseAbortedError`` afterwards, when the caller's connection has been reset.
        """
        request, record, status = context.request, context.record, response.status
        record.status = status
        is_complete = connection.state is ConnectionState.COMPLETE
        body = connection.read_available() if is_complete else None
        if body is not None:
            record.received_bytes = len(body)
        length, link_rewriter = headers.length, None
        if self._rewrites_links:
            link_rewriter = self._link_rewriter(context, status, headers)
            # The length in a 304 is that of the original body.
            length = length if link_rewriter is None and status != 304 else None
            if link_rewriter is not None and body is not None:
                body = link_rewriter.feed(body) + link_rewriter.finish()
        framing = response_framing(
            status,
            length,
            bodiless=request.method == "HEAD" or status in (204, 304),
            complete_length=None if body is None else len(body),
            chunks=request.version >= (1, 1),
        )
        keep_alive = (
            self._may_keep_alive(request) and framing.is_self_delimited and context.is_uploaded
        )
        lines = self._header_lines(context, headers)
        if request.page_origin:
            lines = without_cors(lines) + cors_lines(request.page_origin)
        lines.append(framing.line)
        if not keep_alive or request.version < (1, 1):
            lines.append(persistence_line(keep_alive=keep_alive))
        head = response_head(status, response.reason, lines)
        if body is not None:
            return Response(head + body, keep_alive=keep_alive)
        record.stream_started_at = time.monotonic()
        await stream_response(
            connection, request, record, head, link_rewriter, chunked=framing.chunked
        )
        return Response(keep_alive=keep_alive)

    def error_response(
        self, request: Request | None, record: RequestRecord, error: ProxyError
    ) -> Response:
        """Return a problem response (RFC 9457).

        The connection closes if the rest of the caller's input cannot be trusted
        (``ErrorKind.closes``). ``request`` is None for input that is not a valid request.
        """
        record.status = error.kind.status
        record.note(error)
        problem = problem_response(error, record.transaction_id)
        keep_alive = (
            request is not None
            and self._may_keep_alive(request)
            and request.body.complete
            and not error.kind.closes
        )
        lines = [b"%b: %b\r\n" % pair for pair in problem.headers]
        lines.append(b"transactionId: %b\r\n" % record.transaction_id.encode("ascii"))
        lines.append(b"Content-Length: %d\r\n" % len(problem.body))
        if request is not None and request.page_origin:
            lines += cors_lines(request.page_origin)
        if not keep_alive or (request is not None and request.version < (1, 1)):
            lines.append(persistence_line(keep_alive=keep_alive))
        phrase = HTTPStatus(problem.status).phrase.encode("ascii")
        head = response_head(problem.status, phrase, lines)
        bodiless = request is not None and request.method == "HEAD"
        return Response(head if bodiless else head + problem.body, keep_alive=keep_alive)

    def preflight_response(
        self, request: Request, record: RequestRecord, caller: CallerHeaders
    ) -> Response:
        """Return the response to a CORS preflight of an allowed origin."""
        record.status = HTTPStatus.NO_CONTENT
        keep_alive = self._may_keep_alive(request) and request.body.complete
        lines = preflight_lines(
            request.page_origin,
            caller.preflight_headers,
            private_network=caller.asks_private_network,
        )
        if not keep_alive or request.version < (1, 1):
            lines.append(persistence_line(keep_alive=keep_alive))
        return Response(response_head(204, b"No Content", lines), keep_alive=keep_alive)

    @staticmethod
    def tunnel_response(record: RequestRecord) -> Response:
        """Accept a CONNECT; a response without a body, after which the connection is a tunnel."""
        record.status = HTTPStatus.OK
        return Response(response_head(200, b"Connection established", ()), keep_alive=True)

    def _header_lines(self, context: RequestContext, head: ResponseHeaders) -> list[bytes]:
        lines = head.lines
        if head.url_headers is not None:
            origin, has_base_path = self._caller_origin(context), context.route.has_base_path
            for name, value in head.url_headers:
                rewritten = context.upstream.url_rewriter.rewrite_header(
                    name, value, origin, has_base_path=has_base_path
                )
                lines += (name, b": ", rewritten, b"\r\n")
        if head.transaction_id is None:
            lines += (b"transactionId: ", context.transaction_id, b"\r\n")
        return lines

    def _link_rewriter(
        self, context: RequestContext, status: int, headers: ResponseHeaders
    ) -> JsonLinkRewriter | None:
        """Return the rewriter for this body, if it can be rewritten; drop digests from its head.

        The response to a ``HEAD`` gets the same headers as that to the ``GET``.
        """
        if not is_rewritable(status, headers.lines):
            return None
        headers.lines = drop_body_digests(headers.lines)
        return JsonLinkRewriter(
            context.upstream.url_rewriter,
            self._caller_origin(context),
            has_base_path=context.route.has_base_path,
        )

    def _caller_origin(self, context: RequestContext) -> bytes:
        """Return the proxy's origin as this caller knows it; empty if unknown."""
        caller, connection = context.headers, context.request.connection
        if caller.origin:
            return caller.origin
        return context.upstream.url_rewriter.origin_seen_by_caller(
            caller.host, connection.local_address(), secure=connection.is_tls
        )

    def _may_keep_alive(self, request: Request) -> bool:
        return request.keep_alive and not self.draining


async def stream_response(
    connection: Connection,
    request: Request,
    record: RequestRecord,
    head: bytes,
    link_rewriter: JsonLinkRewriter | None,
    *,
    chunked: bool,
) -> None:
    """Stream a response to the caller.

    The head is sent with the first block, or alone if that does not come within ``HEAD_DELAY``.
    When the response breaks off, the caller's connection is reset, so that the caller sees an
    incomplete message (RFC 9112 section 8), and ``ResponseAbortedError`` is raised. If nothing of
    it has been sent yet, the ``ProxyError`` that caused it is raised.
    """
    caller = request.connection
    try:
        if not await connection.has_data_within(HEAD_DELAY):
            await caller.deliver(head)
            head = b""
        while block := await connection.read():
            record.received_bytes += len(block)
            if link_rewriter is not None:
                block = link_rewriter.feed(block)
            if head or block:
                await caller.deliver(head + (chunk(block) if chunked and block else block))
                head = b""
    except ProxyError as error:
        if head:
            raise
        caller.reset()
        raise ResponseAbortedError(error) from error
    tail = b"" if link_rewriter is None else link_rewriter.finish()
    if chunked:
        tail = (chunk(tail) if tail else b"") + LAST_CHUNK
    if head or tail:
        await caller.deliver(head + tail)
