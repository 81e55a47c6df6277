"""A request's way, from top to bottom: route, token, headers, send, the 401 rule, relay."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from proxy.errors import ProxyError, UpstreamError, internal
from proxy.forwarding.authentication import Admission
from proxy.forwarding.bodies import Upload
from proxy.forwarding.business_users import Users
from proxy.forwarding.context import Errand, Replay
from proxy.forwarding.headers import CallerHeaders, bad_framing, our_headers, request_head
from proxy.forwarding.json_links import asking
from proxy.forwarding.record import Finish, RequestRecord
from proxy.forwarding.response import Relay
from proxy.forwarding.routing import Router, institution_for
from proxy.forwarding.url_rewriting import Names
from proxy.server.limits import CallerLimits, overloaded
from proxy.server.messages import Answer, Request
from proxy.tasks import Tasks
from proxy.tokens.cache import TokenCache
from proxy.tokens.token import Token, TokenKey, TokenKind
from proxy.upstream.bank_errors import CANDIDATES, MAX_ERROR_BODY, read_error, refuses_token
from proxy.upstream.connection import Connection, Deadlines
from proxy.upstream.pool import Pool


@dataclass(frozen=True, slots=True)
class Forwarding:
    """What the forwarder is told by the configuration. ``listener`` is whose requests it serves."""

    listener: str
    institution: str
    allowed: frozenset[str]
    host: bytes
    correlation_id: bool
    rewrites_links: bool
    deadlines: Deadlines
    limits: CallerLimits
    replay: Replay
    names: Names


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
        users: Users | None,
        admission: Admission | None,
        new_id: Callable[[], str],
        finished: Finish,
        crashed: Callable[[BaseException], None],
    ) -> None:
        self._settings = settings
        self._router = router
        self._tokens = tokens
        self._pool = pool
        self._relay = relay
        self._users = users
        self._admission = admission
        self._new_id = new_id
        self._finished = finished
        self._crashed = crashed
        self._tasks = Tasks("forwarder")
        # The loop's clock too, but uvloop tells it in whole milliseconds.
        self._now = time.monotonic
        self.in_flight = 0
        self._no_more: asyncio.Event | None = None

    async def handle(self, request: Request) -> Answer:
        """Answer one request, whatever happens to it."""
        record = RequestRecord(request.method, request.target, self._now(), self._settings.listener)
        self.in_flight += 1
        try:
            if self.in_flight > self._settings.limits.max_in_flight:
                raise overloaded()
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

    def drain(self) -> None:
        """From now on let connections of callers end with the answer they are waiting for."""
        self._relay.draining = True

    async def idle(self) -> None:
        """Wait until no request is in flight."""
        while self.in_flight:
            self._no_more = self._no_more or asyncio.Event()
            self._no_more.clear()
            await self._no_more.wait()

    def refuse(self, error: ProxyError) -> Answer:
        """Answer what could not even be read as a request."""
        record = RequestRecord("", b"", self._now(), self._settings.listener)
        answer = self._refusal(None, record, error)
        record.finished_at = record.started
        self._finished(record)
        return answer

    async def _forward(self, request: Request, record: RequestRecord) -> Answer:
        errand = self._prepare(request, record)
        if self._users is not None or self._settings.replay.patterns:
            began = self._now()
            try:
                await self._complete(errand)
            finally:
                record.other_wait = self._now() - began
        connection = await self._send(errand)
        refusal = connection.status in CANDIDATES
        if refusal and await self._is_to_be_replayed(errand, connection):
            self._give_back(errand, connection)
            record.replays += 1
            connection = await self._send(errand)
        try:
            return await self._relay.answer(errand, connection)
        finally:
            self._give_back(errand, connection)

    async def _complete(self, errand: Errand) -> None:
        """Find out what else must be known before the request can go."""
        if self._users is not None:
            errand.target, errand.customer_id = await self._users.name_user(
                errand.request.method,
                errand.target,
                errand.route.path,
                errand.key,
                has_customer=errand.caller.names_customer,
            )
        if self._settings.replay.patterns:
            await self._prepare_replay(errand)

    def _prepare(self, request: Request, record: RequestRecord) -> Errand:
        """Read what the caller sent and decide what it is. Raises ``CallerError``."""
        target = request.target
        if self._admission is not None:
            self._admission.check(
                request.headers, request.connection.certificate, as_proxy=target[:1] != b"/"
            )
        caller = CallerHeaders(request.headers)
        if caller.chunked and request.version == (1, 0):
            raise bad_framing()
        transaction_id = caller.transaction_id or caller.tid or self._new_id().encode("ascii")
        record.transaction_id = transaction_id.decode("ascii")
        if target[:1] != b"/":
            target, caller.origin = self._settings.names.own_form(
                request.method, target, request.connection.local()
            )
            record.target = target
        route = self._router.route(request.method, target)
        record.route, record.warned = route.kind, route.warned
        if route.kind is TokenKind.V1 and caller.tid:
            transaction_id = caller.tid
            record.transaction_id = transaction_id.decode("ascii")
        settings = self._settings
        if settings.rewrites_links:
            caller.lines = asking(caller.lines)
        institution = institution_for(
            route, caller.institution, settings.institution, settings.allowed
        )
        record.institution = institution
        upload = None
        if caller.chunked or caller.length:
            settings.limits.check_body(caller.length or 0)
            upload = Upload(request, caller, settings.limits)
        return Errand(
            request=request,
            record=record,
            caller=caller,
            route=route,
            key=TokenKey(route.kind, institution),
            transaction_id=transaction_id,
            target=route.target,
            total_at=record.started + settings.deadlines.total,
            upload=upload,
        )

    async def _send(self, errand: Errand) -> Connection:
        """Return a connection on which the head of the answer has arrived.

        A reused connection that closes before any byte of an answer is replaced once by a new
        one, if the request may be sent twice.
        """
        token = errand.token = self._tokens.current(errand.key) or await self._token(errand)
        connection = self._pool.checkout()
        if connection is None:
            connection = await self._connect(errand)
            token = errand.token
        try:
            return await self._exchange(errand, connection, token)
        except UpstreamError as error:
            if not (error.untouched and errand.is_safe):
                raise
            errand.record.replays += 1
        connection = await self._connect(errand, new=True)
        return await self._exchange(errand, connection, errand.token)

    async def _connect(self, errand: Errand, *, new: bool = False) -> Connection:
        """Return a connection that was waited for, and see that the token is alive then."""
        began = self._now()
        try:
            connection = await self._pool.connect(new=new)
        finally:
            errand.record.connection_wait += self._now() - began
        try:
            errand.token = self._tokens.current(errand.key) or await self._token(errand)
        except BaseException:
            self._give_back(errand, connection)
            raise
        return connection

    async def _token(self, errand: Errand) -> Token:
        """Return a token that has to be waited for."""
        began = self._now()
        try:
            return await self._tokens.token(errand.key)
        finally:
            errand.record.token_wait += self._now() - began

    async def _upload(self, errand: Errand, upload: Upload, connection: Connection) -> None:
        """Send the body as it comes, and note when it was all sent."""
        await upload.run(connection)
        if upload.finished and not errand.record.answered_at:
            errand.record.uploaded_at = self._now()

    async def _prepare_replay(self, errand: Errand) -> None:
        """Keep the small body of a request that the operator allows to be sent again."""
        method, path, caller = errand.request.method, errand.route.path, errand.caller
        length = None if caller.chunked else caller.length or 0
        if self._settings.replay.allows(method, path, length):
            errand.is_named = True
            if errand.upload is not None:
                await errand.upload.hold()

    async def _is_to_be_replayed(self, errand: Errand, connection: Connection) -> bool:
        """Whether the bank refused the token, another may be had, and a replay does no harm."""
        began = self._now()
        try:
            body = await connection.peek(MAX_ERROR_BODY)
        except BaseException:
            self._give_back(errand, connection)
            raise
        finally:
            errand.record.other_wait += self._now() - began
        error = read_error(body, gzipped=connection.head.gzipped)
        errand.record.refused = refuses_token(connection.status, error)
        assert errand.token is not None
        cured = errand.record.refused and self._tokens.reject(errand.token)
        return cured and errand.is_replayable

    async def _exchange(self, errand: Errand, connection: Connection, token: Token) -> Connection:
        upload, record = errand.upload, errand.record
        head = request_head(
            errand.request.method,
            errand.target,
            self._settings.host,
            errand.caller,
            our_headers(
                token,
                errand.transaction_id,
                errand.customer_id,
                correlation_id=self._settings.correlation_id and not errand.caller.correlated,
            ),
        )
        record.sent_at = self._now()
        try:
            body = b"" if upload is None else upload.at_once()
            connection.start(
                head + (body or b""),
                bodiless=errand.request.method == "HEAD",
                total_at=errand.total_at,
            )
            if upload is not None and body is None:
                errand.upload_task = self._tasks.spawn(
                    "upload", self._upload(errand, upload, connection)
                )
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

    def _refusal(self, request: Request | None, record: RequestRecord, error: ProxyError) -> Answer:
        if record.status:
            # The head of the bank's answer is out already, and the caller's connection cut.
            record.cut, record.source, record.reason = True, error.source, error.name
            record.detail = error.detail
            return Answer(keep_alive=False)
        record.transaction_id = record.transaction_id or self._new_id()
        return self._relay.refusal(request, record, error)
