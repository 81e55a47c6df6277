"""The way back: the bank's answer, or ours where there is none, to the caller."""

import time
from http import HTTPStatus

from proxy.bodies import download
from proxy.callers import Answer, Request
from proxy.errand import Errand
from proxy.errors import ProxyError, problem
from proxy.facts import RequestRecord
from proxy.headers import (
    AnswerHeaders,
    answer_framing,
    persistence_line,
    response_head,
    rewrite_location,
)
from proxy.upstream import Connection

_UNTRUSTED = frozenset({"bad-framing", "transfer-encoding", "bad-header", "bad-host"})
"""Errors behind which another reader might see another request begin somewhere else."""


class Relay:
    """Writes answers. ``origin`` and ``base`` are the upstream's, for ``Location``."""

    def __init__(self, origin: bytes, base: bytes) -> None:
        self._origin = origin
        self._base = base
        self.draining = False

    async def answer(self, errand: Errand, connection: Connection) -> Answer:
        """Pass the bank's answer on: in one piece if it is all here, else as it comes.

        Raises ``ProxyError`` when it breaks off, after the caller's connection has been cut.
        """
        request, record, status = errand.request, errand.record, connection.status
        record.status = status
        whole = connection.take() if connection.complete else None
        framing = answer_framing(
            status,
            connection.head.length,
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
            record.received_bytes = len(whole)
            return Answer(head + whole, keep_alive=keep_alive)
        record.relayed_at = time.monotonic()
        await download(connection, request, record, head, chunked=framing.chunked)
        return Answer(keep_alive=keep_alive)

    def refusal(self, request: Request | None, record: RequestRecord, error: ProxyError) -> Answer:
        """Answer with a problem; close where the rest of the caller's bytes cannot be trusted.

        ``request`` is None for what could not be read as one.
        """
        record.status, record.source, record.reason = error.status, error.source, error.name
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
        if head.location is not None:
            scheme = b"https://" if errand.request.connection.secure else b"http://"
            base = b"" if errand.route.based else self._base
            seen = rewrite_location(head.location, self._origin, base, scheme + errand.caller.host)
            lines += (b"Location: ", seen, b"\r\n")
        if not head.identified:
            lines += (b"transactionId: ", errand.transaction_id, b"\r\n")
        return lines

    def _may_keep(self, request: Request) -> bool:
        return request.keep_alive and not self.draining
