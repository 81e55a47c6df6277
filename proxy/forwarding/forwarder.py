"""Forwards one request: route, token, headers, exchange, replay after a 401, response."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from proxy.errors import CallerError, ProxyError, UpstreamError, kinds
from proxy.forwarding.authentication import CallerAuthentication
from proxy.forwarding.bodies import Upload
from proxy.forwarding.browser_policy import BrowserPolicy
from proxy.forwarding.context import Replay, RequestContext
from proxy.forwarding.headers import (
    CallerHeaders,
    ResponseHeaders,
    our_headers,
    request_head,
)
from proxy.forwarding.json_links import request_identity_encoding
from proxy.forwarding.record import RequestObserver, RequestRecord
from proxy.forwarding.response import ResponseAbortedError, ResponseWriter
from proxy.forwarding.routing import institution_for, institution_in
from proxy.forwarding.transaction_ids import is_of_another, remember
from proxy.forwarding.upstream import InFlightShares, Upstream
from proxy.server.caller import Caller
from proxy.server.limits import CallerLimits
from proxy.server.messages import Request, Response
from proxy.tasks import Tasks
from proxy.tokens.held import Reaction
from proxy.tokens.token import Token, TokenKind
from proxy.upstream.bank_errors import CANDIDATES, MAX_ERROR_BODY, read_error, refuses_token
from proxy.upstream.connection import Connection

_NOT_CONNECTED = (
    kinds.UPSTREAM_CONNECT,
    kinds.UPSTREAM_UNREACHABLE,
    kinds.UPSTREAM_PROXY_CONNECT,
)
"""Failures to connect that another attempt may not meet: refused, or reset in the handshake."""


@dataclass(frozen=True, slots=True)
class ForwarderSettings:
    """The forwarder's options. ``listener`` is the name of the listener it serves.

    ``via`` is this proxy's name in ``Via`` (RFC 9110 section 7.6.3), by which it notices requests
    that come back; empty where none can.
    """

    listener: str
    institution: str
    permitted_institutions: frozenset[str]
    correlation_id: bool
    rewrites_links: bool
    limits: CallerLimits
    replay: Replay
    browser_policy: BrowserPolicy
    via: bytes = b""


class Forwarder:
    """Forwards requests to the bank.

    ``upstreams`` has the origin of each permitted institution. ``on_finished`` get the record of
    each request at its end, ``on_crash`` unexpected exceptions.
    """

    def __init__(
        self,
        settings: ForwarderSettings,
        upstreams: Mapping[str, Upstream],
        writer: ResponseWriter,
        *,
        authentication: CallerAuthentication | None,
        new_id: Callable[[], str],
        on_finished: Sequence[RequestObserver],
        on_crash: Callable[[BaseException], None],
    ) -> None:
        self._settings = settings
        self._upstream = upstreams[settings.institution]
        # Empty where there is no choice, which is most often the case.
        has_choice = any(upstream is not self._upstream for upstream in upstreams.values())
        self._upstreams = upstreams if has_choice else dict[str, Upstream]()
        self._shares = InFlightShares(
            settings.limits.max_in_flight,
            len({id(upstream) for upstream in upstreams.values()}),
        )
        self._head_end = b"Via: 1.1 %b\r\n\r\n" % settings.via if settings.via else b"\r\n"
        self._writer = writer
        self._authentication = authentication
        self._new_id = new_id
        self._on_finished = on_finished
        self._on_crash = on_crash
        self._tasks = Tasks("forwarder")
        # The clock of the loop, whose own method returns whole milliseconds under uvloop.
        self._now = time.monotonic
        self.in_flight = 0
        self._is_idle: asyncio.Event | None = None

    async def handle(self, request: Request) -> Response:
        """Serve one request; errors become responses.

        Raises only ``ConnectionError`` and ``CancelledError``, when the caller has left.
        """
        record = RequestRecord(request.method, request.target, self._now(), self._settings.listener)
        record.request = request
        self.in_flight += 1
        try:
            if self.in_flight > self._settings.limits.max_in_flight:
                raise ProxyError(kinds.OVERLOADED)
            return await self._forward(request, record)
        except ResponseAbortedError as aborted:
            return self._abort(record, aborted.error)
        except ProxyError as error:
            return self._refusal(request, record, error)
        except (ConnectionError, asyncio.CancelledError):
            record.is_aborted = True
            raise
        except Exception as error:  # noqa: BLE001 - a defect must not leave callers unanswered
            self._on_crash(error)
            return self._refusal(request, record, ProxyError(kinds.INTERNAL))
        finally:
            self.in_flight -= 1
            if self._is_idle is not None and not self.in_flight:
                self._is_idle.set()
            record.finished_at = self._now()
            for observe in self._on_finished:
                observe(record)
            record.request = None

    def drain(self) -> None:
        """Close each caller's connection after its next response."""
        self._writer.draining = True

    async def wait_idle(self) -> None:
        """Wait until no request is in flight."""
        while self.in_flight:
            self._is_idle = self._is_idle or asyncio.Event()
            self._is_idle.clear()
            await self._is_idle.wait()

    def refuse(self, error: ProxyError, caller: Caller) -> Response:
        """Return the response to input that is not a valid request."""
        record = RequestRecord("", b"", self._now(), self._settings.listener)
        record.caller = caller
        response = self._refusal(None, record, error)
        record.finished_at = record.started_at
        for observe in self._on_finished:
            observe(record)
        return response

    async def _forward(self, request: Request, record: RequestRecord) -> Response:
        caller = self._read_headers(request)
        if caller.preflight_method and request.page_origin and request.method == "OPTIONS":
            return self._writer.preflight_response(request, record, caller)
        if request.method == "CONNECT":
            return self._accept_tunnel(request, record, caller)
        context = self._create_context(request, record, caller)
        if self._upstreams:
            self._shares.begin(context.upstream)
        try:
            if context.upstream.user_injector is not None or self._settings.replay.patterns:
                started_at = self._now()
                try:
                    await self._prepare_context(context)
                finally:
                    record.preparation_wait = self._now() - started_at
            while True:
                try:
                    response = await self._attempt(context)
                except UpstreamError as error:
                    if not self._may_retry(context, error):
                        raise
                    continue
                if response is not None:
                    return response
                record.replays += 1
        finally:
            if self._upstreams:
                self._shares.end(context.upstream)

    def _may_retry(self, context: RequestContext, error: UpstreamError) -> bool:
        """Whether a request is retried: nothing of it has been sent, whatever its method."""
        record, upstream = context.record, context.upstream
        if context.is_retry:
            record.retry = "failure"
            return False
        is_unsent = error.is_unsent or error.reason in _NOT_CONNECTED
        if not (is_unsent and upstream.retry):
            return False
        context.is_retry = upstream.retries.take(upstream.requests, self._now())
        record.retry = "success" if context.is_retry else "over_budget"
        context.needs_new_connection = True
        return context.is_retry

    def _accept_tunnel(
        self, request: Request, record: RequestRecord, caller: CallerHeaders
    ) -> Response:
        """Accept a tunnel to the bank's own name, of which this proxy is the end.

        Clients that know only tunnels (Node's ``fetch``) ask for one for http:// URLs too. What
        comes inside is read and judged like every request. Raises ``CallerError``.
        """
        record.application = self._authenticate(request)
        upstreams = [self._upstream, *self._upstreams.values()]
        if not any(upstream.url_rewriter.may_tunnel(request.target) for upstream in upstreams):
            raise CallerError(kinds.CONNECT)
        if caller.chunked or caller.length is not None:
            raise CallerError(kinds.BAD_FRAMING)  # RFC 9110 section 9.3.6: it has no content
        return self._writer.tunnel_response(record)

    def _authenticate(self, request: Request) -> str:
        """Return the application's name, empty without one. Raises ``CallerError``."""
        if self._authentication is None:
            return ""
        return self._authentication.check(
            request.headers, request.connection.caller, as_proxy=request.target[:1] != b"/"
        )

    async def _prepare_context(self, context: RequestContext) -> None:
        """Look up the user and buffer the body, where the configuration requires it."""
        if context.upstream.user_injector is not None:
            context.target, context.customer_id = await context.upstream.user_injector.inject(
                context.request.method,
                context.target,
                context.route.path,
                context.key,
                has_customer=context.headers.has_customer_id,
            )
        if self._settings.replay.patterns:
            await self._prepare_replay(context)

    def _read_headers(self, request: Request) -> CallerHeaders:
        """Return a request's headers; raises ``CallerError`` for a web page that may not call."""
        caller = CallerHeaders(request.headers, needs_host=request.version == (1, 1))
        if caller.host and request.target[:1] == b"/":
            # With an absolute-form target, Host is ignored (RFC 9112 section 3.2.2).
            self._settings.browser_policy.check_host(caller.host)
        if caller.is_of_browser:
            request.page_origin = self._settings.browser_policy.check_page(
                caller.host, caller.page_origins, caller.fetch_site
            )
            if caller.upgrade.lower() == b"websocket":
                raise CallerError(kinds.WEBSOCKET)
        return caller

    def _check_loop(self, via: bytes) -> None:
        """Raise ``ProxyError`` for a request that this proxy has sent itself."""
        if self._settings.via and self._settings.via in via:
            raise ProxyError(kinds.LOOP)

    def _create_context(
        self, request: Request, record: RequestRecord, caller: CallerHeaders
    ) -> RequestContext:
        """Authenticate and route a request. Raises ``CallerError``."""
        target = request.target
        if self._authentication is not None:
            record.application = self._authenticate(request)
        if caller.chunked and request.version == (1, 0):
            raise CallerError(kinds.BAD_FRAMING)
        transaction_id = caller.transaction_id or caller.tid
        if transaction_id:
            record.transaction_id = transaction_id.decode("ascii")
            remember(transaction_id)
        else:
            record.transaction_id = self._new_id()
            transaction_id = record.transaction_id.encode("ascii")
        if caller.via:
            self._check_loop(caller.via)
        upstream = self._upstream
        if self._upstreams:
            upstream = self._choose_upstream(target, caller.institution)
        if target[:1] != b"/":
            target, caller.origin = upstream.url_rewriter.to_origin_form(
                target, request.connection.local_address()
            )
            record.target = target
        upstream.requests += 1
        route = upstream.router.route(request.method, target)
        record.route, record.has_policy_warning = route.kind, route.has_policy_warning
        if route.kind is TokenKind.V1 and caller.tid:
            transaction_id = caller.tid
            remember(transaction_id)
            record.transaction_id = transaction_id.decode("ascii")
        settings = self._settings
        if settings.rewrites_links:
            caller.lines = request_identity_encoding(caller.lines)
        institution = institution_for(
            route, caller.institution, settings.institution, settings.permitted_institutions
        )
        record.institution = institution
        upload = None
        if caller.chunked or caller.length:
            settings.limits.check_body(caller.length or 0)
            upload = Upload(request, caller, settings.limits)
        return RequestContext(
            request=request,
            record=record,
            headers=caller,
            upstream=upstream,
            route=route,
            key=upstream.token_key(route.kind, institution),
            transaction_id=transaction_id,
            target=route.target,
            deadline=record.started_at + upstream.total_timeout,
            upload=upload,
        )

    def _choose_upstream(self, target: bytes, requested: bytes | None) -> Upstream:
        """Return the upstream of the institution in a V1 path or a header, as routing reads it.

        For one that is not permitted it is the default, and routing refuses the request. Raises
        ``CallerError``.
        """
        named = institution_in(target.partition(b"?")[0]) or requested
        if named is None:
            return self._upstream
        return self._upstreams.get(named.decode("latin-1"), self._upstream)

    async def _attempt(self, context: RequestContext) -> Response | None:
        """Send the request and write the response; return None if it has to be sent again.

        That is the case if the request may be sent twice and either a reused connection closed
        before any byte of a response, or the bank refused the token.
        """
        upstream, tokens = context.upstream, context.upstream.tokens
        context.token = tokens.current(context.key) or await self._token(context)
        connection = (
            None if context.needs_new_connection else upstream.pool.checkout(upstream.share)
        )
        if is_waiting := connection is None:
            connection = await self._connect(context)
        async with connection:
            try:
                if is_waiting:  # The token may have expired meanwhile.
                    context.token = tokens.current(context.key) or await self._token(context)
                self._start_exchange(context, connection, context.token)
                head = await connection.wait_for_head()
                context.record.responded_at = self._now()
                headers = ResponseHeaders(head.headers)
                found = headers.tid or headers.transaction_id
                if found and (found != context.transaction_id or headers.more_ids):
                    self._check_transaction_id(context, connection, headers)
                if context.is_token_refused and head.status < 400:
                    tokens.accept(context.token)
                if head.status in CANDIDATES and await self._should_replay(
                    context, connection, head.status, headers
                ):
                    return None
                return await self._writer.write_response(context, connection, head, headers)
            except UpstreamError as error:
                if not (error.is_before_response and context.is_safe):
                    raise
                context.needs_new_connection = True
                return None
            finally:
                if context.upload is not None:
                    self._stop_upload(context, context.upload, connection)

    async def _connect(self, context: RequestContext) -> Connection:
        """Wait for a connection and record the time."""
        started_at, upstream = self._now(), context.upstream
        try:
            return await upstream.pool.connect(upstream.share, new=context.needs_new_connection)
        finally:
            context.record.connection_wait += self._now() - started_at

    async def _token(self, context: RequestContext) -> Token:
        """Wait for a token and record the time."""
        started_at = self._now()
        try:
            return await context.upstream.tokens.token(context.key)
        finally:
            context.record.token_wait += self._now() - started_at

    async def _prepare_replay(self, context: RequestContext) -> None:
        """Buffer the body of a request that the configuration allows to be sent again."""
        method, path, caller = context.request.method, context.route.path, context.headers
        length = None if caller.chunked else caller.length or 0
        if self._settings.replay.allows(method, path, length):
            context.is_replay_permitted = True
            if context.upload is not None:
                await context.upload.buffer()

    def _start_exchange(
        self, context: RequestContext, connection: Connection, token: Token
    ) -> None:
        """Send the request; start a task for a body that has not arrived completely."""
        upload, record = context.upload, context.record
        head = request_head(
            context.request.method,
            context.target,
            context.upstream.host,
            context.headers,
            our_headers(
                token,
                context.transaction_id,
                context.customer_id,
                correlation_id=self._settings.correlation_id
                and not context.headers.has_correlation_id,
            ),
            self._head_end,
        )
        record.sent_at = self._now()
        body = b"" if upload is None else upload.framed_if_complete()
        connection.start(
            head + (body or b""),
            bodiless=context.request.method == "HEAD",
            total_at=context.deadline,
        )
        if upload is not None:
            upload.framed = None
            if body is None:
                context.upload_task = self._tasks.spawn(
                    "upload", self._upload(context, upload, connection)
                )

    async def _upload(
        self, context: RequestContext, upload: Upload, connection: Connection
    ) -> None:
        """Send the body as it arrives, and record when all of it has been sent."""
        await upload.run(connection)
        if upload.is_finished and connection.head is None:
            context.record.uploaded_at = self._now()

    @staticmethod
    def _stop_upload(context: RequestContext, upload: Upload, connection: Connection) -> None:
        """Stop an unfinished upload; its connection is closed, as half a request was sent."""
        context.record.sent_bytes = upload.sent_bytes
        if upload.is_finished:
            return
        if context.upload_task is not None:
            context.upload_task.cancel()
        connection.abort()

    def _check_transaction_id(
        self, context: RequestContext, connection: Connection, headers: ResponseHeaders
    ) -> None:
        """Raise ``UpstreamError`` for the response to another request; close the connection.

        The bank repeats the header that the request had: V1 calls have no ``transactionId``.
        """
        own, is_v1 = context.transaction_id, context.key.kind is TokenKind.V1
        found = headers.tid if is_v1 else headers.transaction_id
        ids = (*(headers.more_ids or ()), *([] if found is None else [found]))
        if any(is_of_another(one, own) for one in ids):
            connection.abort()
            raise UpstreamError(kinds.UPSTREAM_CROSS_TALK)

    async def _should_replay(
        self,
        context: RequestContext,
        connection: Connection,
        status: int,
        headers: ResponseHeaders,
    ) -> bool:
        """Whether the bank refused the token, there is another, and a replay is safe."""
        if context.is_token_refused and not context.may_replay_again:
            return False
        started_at = self._now()
        try:
            body = await connection.peek(MAX_ERROR_BODY)
        finally:
            context.record.preparation_wait += self._now() - started_at
        error = read_error(body, gzipped=headers.is_gzipped)
        if not refuses_token(status, error):
            return False
        assert context.token is not None
        reaction = context.upstream.tokens.reject(context.token)
        # Once more after another token that was known, such as the former one, never a third time.
        is_first = not context.is_token_refused
        context.may_replay_again = is_first and reaction is not Reaction.DROPPED
        context.is_token_refused = context.record.is_token_refused = True
        return reaction is not Reaction.KEPT and context.is_replayable

    @staticmethod
    def _abort(record: RequestRecord, error: ProxyError) -> Response:
        """Record a response that broke off; the caller's connection has been reset."""
        record.is_aborted = True
        record.note(error)
        return Response(keep_alive=False)

    def _refusal(
        self, request: Request | None, record: RequestRecord, error: ProxyError
    ) -> Response:
        record.transaction_id = record.transaction_id or self._new_id()
        return self._writer.error_response(request, record, error)
