"""A request's way, from top to bottom: route, token, headers, send, the 401 rule, relay."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from aiohttp.web_request import BaseRequest

from proxy.bodies import Upload
from proxy.errand import Errand
from proxy.errors import CallerError, ProxyError, UpstreamError, internal
from proxy.facts import Finish, RequestRecord
from proxy.headers import CallerHeaders, bad_framing, request_head
from proxy.relay import Relay
from proxy.routing import Router
from proxy.server import Answer
from proxy.tasks import Tasks
from proxy.tokens.cache import TokenCache
from proxy.tokens.token import Token, TokenKey
from proxy.upstream import Connection, Deadlines, Pool


@dataclass(frozen=True, slots=True)
class Forwarding:
    """What the forwarder is told by the configuration."""

    institution: str
    host: bytes
    correlation_id: bool
    deadlines: Deadlines


class Forwarder:
    """Forwards requests to the bank.

    ``finished`` gets the record of each request at its end, ``crashed`` a mistake of our own.
    """

    def __init__(
        self,
        settings: Forwarding,
        router: Router,
        tokens: TokenCache,
        pool: Pool,
        relay: Relay,
        *,
        new_id: Callable[[], str],
        finished: Finish,
        crashed: Callable[[BaseException], None],
    ) -> None:
        self._settings = settings
        self._router = router
        self._tokens = tokens
        self._pool = pool
        self._relay = relay
        self._new_id = new_id
        self._finished = finished
        self._crashed = crashed
        self._tasks = Tasks("forwarder")
        self._now = asyncio.get_running_loop().time
        self._institution_line = b"institutionId: %b\r\n" % settings.institution.encode("ascii")
        self.in_flight = 0
        self._no_more: asyncio.Event | None = None

    async def handle(self, request: BaseRequest) -> Answer:
        """Answer one request, whatever happens to it."""
        record = RequestRecord(request.method, request.raw_path.partition("?")[0], self._now())
        self.in_flight += 1
        try:
            return await self._forward(request, record)
        except ProxyError as error:
            return self._refusal(request, record, error)
        except (ConnectionError, asyncio.CancelledError):
            record.cut = True
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, the caller gets an answer
            self._crashed(error)
            return self._refusal(request, record, internal(error))
        finally:
            self.in_flight -= 1
            if self._no_more is not None and not self.in_flight:
                self._no_more.set()
            record.finished_at = self._now()
            self._finished(record)

    async def idle(self) -> None:
        """Wait until no request is in flight."""
        if self.in_flight:
            self._no_more = asyncio.Event()
            await self._no_more.wait()

    def refuse(self, request: BaseRequest, error: ProxyError) -> Answer:
        """Answer what could not even be read as a request."""
        record = RequestRecord("", "", self._now())
        answer = self._refusal(request, record, error)
        record.finished_at = record.started
        self._finished(record)
        return answer

    async def _forward(self, request: BaseRequest, record: RequestRecord) -> Answer:
        errand = self._prepare(request, record)
        token = await self._tokens.token(errand.key)
        connection = await self._send(errand, token)
        if connection.status == 401 and self._tokens.reject(token) and errand.is_replayable:
            self._give_back(errand, connection)
            record.replays += 1
            token = await self._tokens.token(errand.key)
            connection = await self._send(errand, token)
        try:
            return await self._relay.answer(errand, connection)
        finally:
            self._give_back(errand, connection)

    def _prepare(self, request: BaseRequest, record: RequestRecord) -> Errand:
        """Read what the caller sent and decide what it is. Raises ``CallerError``."""
        if request.version not in ((1, 1), (1, 0)):
            raise CallerError(505, "version", "Send HTTP/1.1.")
        caller = CallerHeaders(request.message.raw_headers)
        if caller.chunked and request.version == (1, 0):
            raise bad_framing()
        transaction_id = caller.transaction_id or self._new_id().encode("ascii")
        record.transaction_id = transaction_id.decode("ascii")
        route = self._router.route(
            request.method, request.raw_path.encode("utf-8", "surrogateescape")
        )
        record.route = route.kind
        record.institution = self._settings.institution
        deadlines = self._settings.deadlines
        upload = None
        if caller.chunked or caller.length:
            upload = Upload(request.content, request.writer, caller, deadlines.idle)
        return Errand(
            request=request,
            record=record,
            caller=caller,
            route=route,
            key=TokenKey(route.kind, self._settings.institution),
            transaction_id=transaction_id,
            total_at=record.started + deadlines.total,
            upload=upload,
        )

    async def _send(self, errand: Errand, token: Token) -> Connection:
        """Return a connection on which the head of the answer has arrived.

        A reused connection that closes before any byte of an answer is replaced once by a new
        one, if the request may be sent twice.
        """
        head = request_head(
            errand.request.method,
            errand.route.target,
            self._settings.host,
            errand.caller,
            self._ours(errand, token),
        )
        connection = self._pool.checkout()
        if connection is not None:
            try:
                return await self._exchange(errand, connection, head)
            except UpstreamError as error:
                if not (error.untouched and errand.is_replayable):
                    raise
                errand.record.replays += 1
        return await self._exchange(errand, await self._pool.connect(), head)

    def _ours(self, errand: Errand, token: Token) -> list[bytes]:
        lines = [b"Authorization: ", token.authorization, b"\r\n"]
        lines += (b"transactionId: ", errand.transaction_id, b"\r\n", self._institution_line)
        if self._settings.correlation_id and not errand.caller.correlated:
            lines += (b"correlationId: ", errand.transaction_id, b"\r\n")
        return lines

    async def _exchange(self, errand: Errand, connection: Connection, head: bytes) -> Connection:
        upload, record = errand.upload, errand.record
        record.sent_at = self._now()
        body = b"" if upload is None else upload.at_once()
        try:
            connection.start(
                head + (body or b""),
                bodiless=errand.request.method == "HEAD",
                total_at=errand.total_at,
            )
            if upload is not None and body is None:
                errand.upload_task = self._tasks.spawn("upload", upload.run(connection))
            await connection.answered()
        except BaseException:
            self._give_back(errand, connection)
            raise
        record.answered_at = self._now()
        return connection

    def _give_back(self, errand: Errand, connection: Connection) -> None:
        """Return a connection to the pool, closed unless the exchange on it is wholly over."""
        if errand.upload is not None:
            errand.record.sent_bytes = errand.upload.sent
        if errand.upload_task is not None and not errand.is_uploaded:
            errand.upload_task.cancel()
        if not (connection.complete and errand.is_uploaded):
            connection.abort()
        self._pool.release(connection)

    def _refusal(self, request: BaseRequest, record: RequestRecord, error: ProxyError) -> Answer:
        if record.status:
            # The head of the bank's answer is out already, and the caller's connection cut.
            record.cut, record.source, record.reason = True, error.source, error.name
            return Answer(keep_alive=False)
        record.transaction_id = record.transaction_id or self._new_id()
        return self._relay.refusal(request, record, error)
