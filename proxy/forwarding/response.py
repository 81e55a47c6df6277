"""The way back: the bank's answer, or ours where there is none, to the caller."""

import time
from http import HTTPStatus

from proxy.errors import ProxyError, problem
from proxy.forwarding.context import Errand
from proxy.forwarding.headers import AnswerHeaders
from proxy.forwarding.json_links import Links, changed, is_readable
from proxy.forwarding.record import RequestRecord
from proxy.forwarding.url_rewriting import Names
from proxy.http1.writer import LAST_CHUNK, answer_framing, chunk, persistence_line, response_head
from proxy.server.messages import Answer, Request
from proxy.upstream.connection import Connection

_UNTRUSTED = frozenset({"bad-framing", "transfer-encoding", "bad-header", "bad-host"})
"""Errors behind which another reader might see another request begin somewhere else."""


class Relay:
    """Writes answers. ``rewrites_links``: the bank's URLs in JSON bodies are told as ours too."""

    def __init__(self, names: Names, *, rewrites_links: bool) -> None:
        self._names = names
        self._rewrites_links = rewrites_links
        self.draining = False

    async def answer(self, errand: Errand, connection: Connection) -> Answer:
        """Pass the bank's answer on: in one piece if it is all here, else as it comes.

        Raises ``ProxyError`` when it breaks off, after the caller's connection has been cut.
        """
        request, record, status = errand.request, errand.record, connection.status
        record.status = status
        whole = connection.take() if connection.complete else None
        if whole is not None:
            record.received_bytes = len(whole)
        length, links = connection.head.length, None
        if self._rewrites_links:
            links = self._links(errand, connection)
            # A 304 would tell the length of another body.
            length = length if links is None and status != 304 else None
            if links is not None and whole is not None:
                whole = links.feed(whole) + links.finish()
        framing = answer_framing(
            status,
            length,
            bodiless=request.method == "HEAD" or status in (204, 304),
            whole=None if whole is None else len(whole),
            chunks=request.version >= (1, 1),
        )
        keep_alive = self._may_keep(request) and framing.ends and errand.is_uploaded
        lines = self._lines(errand, connection.head)
        lines.append(framing.line)
        if not keep_alive or request.version < (1, 1):
            lines.append(persistence_line(keep_alive=keep_alive))
        head = response_head(status, connection.reason, lines)
        if whole is not None:
            return Answer(head + whole, keep_alive=keep_alive)
        record.relayed_at = time.monotonic()
        await download(connection, request, record, head, links, chunked=framing.chunked)
        return Answer(keep_alive=keep_alive)

    def refusal(self, request: Request | None, record: RequestRecord, error: ProxyError) -> Answer:
        """Answer with a problem; close where the rest of the caller's bytes cannot be trusted.

        ``request`` is None for what could not be read as one.
        """
        record.status, record.source, record.reason = error.status, error.source, error.name
        record.detail = error.detail
        answer = problem(error, record.transaction_id)
        keep_alive = (
            request is not None
            and self._may_keep(request)
            and request.body.complete
            and error.name not in _UNTRUSTED
        )
        lines = [b"%b: %b\r\n" % pair for pair in answer.headers]
        lines.append(b"transactionId: %b\r\n" % record.transaction_id.encode("ascii"))
        lines.append(b"Content-Length: %d\r\n" % len(answer.body))
        if not keep_alive or (request is not None and request.version < (1, 1)):
            lines.append(persistence_line(keep_alive=keep_alive))
        phrase = HTTPStatus(answer.status).phrase.encode("ascii")
        head = response_head(answer.status, phrase, lines)
        bodiless = request is not None and request.method == "HEAD"
        return Answer(head if bodiless else head + answer.body, keep_alive=keep_alive)

    def _lines(self, errand: Errand, head: AnswerHeaders) -> list[bytes]:
        lines = head.lines
        if head.addresses is not None:
            seen, based = self._seen(errand), errand.route.based
            for name, value in head.addresses:
                told = self._names.header(name, value, seen, based=based)
                lines += (name, b": ", told, b"\r\n")
        if not head.identified:
            lines += (b"transactionId: ", errand.transaction_id, b"\r\n")
        return lines

    def _links(self, errand: Errand, connection: Connection) -> Links | None:
        """Return what rewrites the body of this answer, if it can be read; its head is mended.

        A ``HEAD`` is answered as the ``GET`` would be.
        """
        head = connection.head
        if not is_readable(connection.status, head.lines):
            return None
        head.lines = changed(head.lines)
        return Links(self._names, self._seen(errand), based=errand.route.based)

    def _seen(self, errand: Errand) -> bytes:
        """Return our origin as this caller knows it; empty if we cannot tell."""
        caller, connection = errand.caller, errand.request.connection
        if caller.origin:
            return caller.origin
        return self._names.seen(caller.host, connection.local(), secure=connection.secure)

    def _may_keep(self, request: Request) -> bool:
        return request.keep_alive and not self.draining


async def download(
    connection: Connection,
    request: Request,
    record: RequestRecord,
    head: bytes,
    links: Links | None,
    *,
    chunked: bool,
) -> None:
    """Send an answer to the caller as it comes; the head goes out with the first block.

    What ``links`` keeps back for a moment goes out with the next block, or at the end.
    When the answer breaks off, the caller's connection is cut, because only a broken end tells
    the truth, unless nothing of the answer is out yet; raises the ``ProxyError`` that broke it.
    """
    caller = request.connection
    try:
        while block := await connection.read():
            record.received_bytes += len(block)
            if links is not None and not (block := links.feed(block)):
                continue
            await caller.deliver(head + (chunk(block) if chunked else block))
            head = b""
    except ProxyError:
        if head:
            record.status = 0
        else:
            caller.cut()
        raise
    rest = b"" if links is None else links.finish()
    if chunked:
        rest = (chunk(rest) if rest else b"") + LAST_CHUNK
    if head or rest:
        await caller.deliver(head + rest)
