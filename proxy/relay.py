"""The way back: the bank's answer, or ours where there is none, to the caller."""

from http import HTTPStatus

from aiohttp.web_request import BaseRequest

from proxy.bodies import download
from proxy.errand import Errand
from proxy.errors import ProxyError, problem
from proxy.facts import RequestRecord
from proxy.headers import (
    answer_framing,
    passing,
    persistence_line,
    response_head,
    rewrite_location,
)
from proxy.server import Answer
from proxy.upstream import Connection


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
        request, record = errand.request, errand.record
        record.status = connection.status
        bodiless = request.method == "HEAD" or connection.status in (204, 304)
        whole = await connection.read() if connection.complete else None
        framing = answer_framing(
            connection.status,
            connection.length,
            bodiless=bodiless,
            whole=None if whole is None else len(whole),
            chunks=request.version >= (1, 1),
        )
        keep_alive = self._may_keep(request) and framing.ends and errand.is_uploaded
        lines = self._lines(errand, connection)
        lines.append(framing.line)
        lines.append(persistence_line(keep_alive=keep_alive, http_1_0=request.version < (1, 1)))
        head = response_head(connection.status, connection.reason, lines)
        if whole is not None:
            record.received_bytes = len(whole)
            return Answer(head + whole, keep_alive=keep_alive)
        await download(connection, request, record, head, chunked=framing.chunked)
        return Answer(keep_alive=keep_alive)

    def refusal(self, request: BaseRequest, record: RequestRecord, error: ProxyError) -> Answer:
        """Answer with a problem; close where the rest of the caller's bytes cannot be trusted."""
        record.status, record.source, record.reason = error.status, error.source, error.name
        answer = problem(error, record.transaction_id)
        keep_alive = self._may_keep(request) and _is_read(request)
        lines = [b"%b: %b\r\n" % pair for pair in answer.headers]
        lines.append(b"transactionId: %b\r\n" % record.transaction_id.encode("ascii"))
        lines.append(b"Content-Length: %d\r\n" % len(answer.body))
        lines.append(persistence_line(keep_alive=keep_alive, http_1_0=request.version < (1, 1)))
        phrase = HTTPStatus(answer.status).phrase.encode("ascii")
        head = response_head(answer.status, phrase, lines)
        return Answer(
            head if request.method == "HEAD" else head + answer.body, keep_alive=keep_alive
        )

    def _lines(self, errand: Errand, connection: Connection) -> list[bytes]:
        lines, location, identified = passing(connection.headers)
        if location is not None:
            scheme = b"https://" if errand.request.secure else b"http://"
            base = b"" if errand.route.based else self._base
            seen = rewrite_location(location, self._origin, base, scheme + errand.caller.host)
            lines += (b"Location: ", seen, b"\r\n")
        if not identified:
            lines += (b"transactionId: ", errand.transaction_id, b"\r\n")
        return lines

    def _may_keep(self, request: BaseRequest) -> bool:
        return request.keep_alive and not self.draining


def _is_read(request: BaseRequest) -> bool:
    content = request.content
    return content.is_eof() and content.exception() is None and not request.message.upgrade
