"""The way back: the bank's answer, or ours where there is none, to the caller."""

import time
from http import HTTPStatus

from proxy.errors import ProxyError, problem_response
from proxy.forwarding.browser_policy import cors_lines, preflight_lines, without_cors
from proxy.forwarding.context import RequestContext
from proxy.forwarding.headers import CallerHeaders, ResponseHeaders
from proxy.forwarding.json_links import JsonLinkRewriter, drop_body_digests, is_rewritable
from proxy.forwarding.record import RequestRecord
from proxy.forwarding.url_rewriting import UrlRewriter
from proxy.http1.writer import LAST_CHUNK, chunk, persistence_line, response_framing, response_head
from proxy.server.messages import Request, Response
from proxy.upstream.connection import Connection, ConnectionState
from proxy.upstream.response_parser import ResponseHead


class ResponseAbortedError(Exception):
    """A response broke off after its head went out: no other response can be given any more.

    ``error`` is what broke it.
    """

    def __init__(self, error: ProxyError) -> None:
        super().__init__(error.detail)
        self.error = error


class ResponseWriter:
    """Writes answers. ``rewrites_links``: the bank's URLs in JSON bodies are told as ours too."""

    def __init__(self, url_rewriter: UrlRewriter, *, rewrites_links: bool) -> None:
        self._url_rewriter = url_rewriter
        self._rewrites_links = rewrites_links
        self.draining = False

    async def write_response(
        self, context: RequestContext, connection: Connection, response: ResponseHead
    ) -> Response:
        """Pass the bank's answer on: in one piece if it is all here, else as it comes.

        Raises ``ProxyError`` when it breaks off before anything of it is out, and
        ``ResponseAbortedError`` afterwards, when the caller's connection has been reset.
        """
        request, record, status = context.request, context.record, response.status
        record.status = status
        headers = ResponseHeaders(response.headers)
        is_complete = connection.state is ConnectionState.COMPLETE
        body = connection.read_available() if is_complete else None
        if body is not None:
            record.received_bytes = len(body)
        length, link_rewriter = headers.length, None
        if self._rewrites_links:
            link_rewriter = self._link_rewriter(context, status, headers)
            # A 304 would tell the length of another body.
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
        """Answer with a problem; close where the rest of the caller's bytes cannot be trusted.

        ``request`` is None for what could not be read as one.
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
        """Answer the question of a browser whether a page of an allowed origin may call."""
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

    def _header_lines(self, context: RequestContext, head: ResponseHeaders) -> list[bytes]:
        lines = head.lines
        if head.url_headers is not None:
            origin, has_base_path = self._caller_origin(context), context.route.has_base_path
            for name, value in head.url_headers:
                rewritten = self._url_rewriter.rewrite_header(
                    name, value, origin, has_base_path=has_base_path
                )
                lines += (name, b": ", rewritten, b"\r\n")
        if not head.has_transaction_id:
            lines += (b"transactionId: ", context.transaction_id, b"\r\n")
        return lines

    def _link_rewriter(
        self, context: RequestContext, status: int, headers: ResponseHeaders
    ) -> JsonLinkRewriter | None:
        """Return what rewrites the body of this answer, if it can be read; its head is mended.

        A ``HEAD`` is answered as the ``GET`` would be.
        """
        if not is_rewritable(status, headers.lines):
            return None
        headers.lines = drop_body_digests(headers.lines)
        return JsonLinkRewriter(
            self._url_rewriter,
            self._caller_origin(context),
            has_base_path=context.route.has_base_path,
        )

    def _caller_origin(self, context: RequestContext) -> bytes:
        """Return our origin as this caller knows it; empty if we cannot tell."""
        caller, connection = context.headers, context.request.connection
        if caller.origin:
            return caller.origin
        return self._url_rewriter.origin_seen_by_caller(
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
    """Send an answer to the caller as it comes; the head goes out with the first block.

    What ``link_rewriter`` keeps back for a moment goes out with the next block, or at the end.
    When the answer breaks off, the caller's connection is cut, because only a broken end tells
    the truth, and ``ResponseAbortedError`` is raised; where nothing of it is out yet, the
    ``ProxyError`` that broke it.
    """
    caller = request.connection
    try:
        while block := await connection.read():
            record.received_bytes += len(block)
            if link_rewriter is not None and not (block := link_rewriter.feed(block)):
                continue
            await caller.deliver(head + (chunk(block) if chunked else block))
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
