"""Requests end to end, through a running proxy to a sandbox bank or a scripted upstream."""

import asyncio
import gzip
import json
import re
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, cast

import pytest

from proxy.forwarding.business_users import UserContextInjector
from proxy.forwarding.record import RequestRecord
from proxy.runtime.app import App
from proxy.sandbox import Bank, Fault, Sandbox, Settings
from proxy.tokens.token import TokenKey, TokenKind
from tests.support.raw_client import GET, RawConnection, RawResponse, ask, connect, request
from tests.support.running import running, until
from tests.support.upstream_server import (
    ScriptedUpstream,
    ScriptStep,
    close,
    forever,
    hold,
    ok,
    read,
    read_head,
    reset,
    respond_to_all,
    send,
    wait,
)

EVERY_LOOP = True

UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
MINE = "5F1D7A8E-0c54-4b1e-9d0a-6f2f6f7c1a01"
V2 = TokenKey(TokenKind.V2, "00016")
FRESH: dict[str, Any] = {"token": {"min_interval": "0.001"}}
"""Lets a token be thrown away right after it was issued."""


class ForwarderFixture:
    """A running proxy, its bank, and the records of all requests."""

    def __init__(self, app: App, bank: Bank) -> None:
        self.app = app
        self.bank = bank
        self.records: list[RequestRecord] = []
        app.forwarder._on_finished = [self.records.append]


@asynccontextmanager
async def forwarder_fixture(
    settings: Settings | None = None, **overrides: Any
) -> AsyncIterator[ForwarderFixture]:
    """Run a proxy in front of a sandbox; check at the end that no request is left over."""
    async with Sandbox(settings) as sandbox, running(sandbox, **overrides) as app:
        yield ForwarderFixture(app, sandbox.bank)
        await until(lambda: app.forwarder.in_flight == 0)
        assert app.pool.open_count == app.pool.idle_count
        assert not app.forwarder._tasks._running


@asynccontextmanager
async def scripted(
    *scripts: Sequence[ScriptStep], **overrides: Any
) -> AsyncIterator[tuple[App, ScriptedUpstream]]:
    """Run a proxy in front of a scripted upstream."""
    async with (
        ScriptedUpstream(*scripts) as upstream,
        running(upstream.url, bearer_token="scripted", **overrides) as app,
    ):
        yield app, upstream
        await until(lambda: app.forwarder.in_flight == 0)
        assert app.pool.open_count == app.pool.idle_count


# What the bank receives.


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
@pytest.mark.parametrize(
    "body", [None, b"", b"hello", b"x" * 200_000], ids=["no", "0", "5", "200k"]
)
async def test_every_method_is_forwarded(method: str, body: bytes | None) -> None:
    """Method, target, body and headers arrive, on one connection."""
    async with forwarder_fixture() as here, connect(here.app) as wire:
        for _ in range(2):
            response = await wire.ask(request(method, "/echo/a?b=c", "X-Mine: 1", body=body))
            assert response.status == 200
            assert bool(response.body) == (method != "HEAD")
        first, second = here.bank.arrivals
        assert (first.method, first.target) == (method, "/echo/a?b=c")
        assert first.body_length == len(body or b"")
        assert first.all("X-Mine") == ["1"]
        assert first.all("Content-Length") == ([] if body is None else [str(len(body))])
        assert first.all("Transfer-Encoding") == []
        assert second.body_sha256 == first.body_sha256
        assert here.app.pool.opened_count == 1


async def test_proxy_headers_are_added_once() -> None:
    """Token, transaction id and institution are the last headers, before ``Via``."""
    async with forwarder_fixture() as here:
        assert (await ask(here.app)).status == 200
        (arrival,) = here.bank.arrivals
        (token,) = here.bank.live_tokens()
        transaction = arrival.header("transactionId")
        assert transaction is not None
        assert UUID.fullmatch(transaction)
        *headers, (via, name) = arrival.headers
        assert (via, name[:21]) == (b"Via", b"1.1 candescent-proxy-")
        assert headers == [
            (b"Host", here.bank.url.removeprefix("http://").encode()),
            (b"Authorization", f"Bearer {token.text}".encode()),
            (b"transactionId", transaction.encode()),
            (b"institutionId", b"00016"),
            (b"correlationId", transaction.encode()),
        ]


async def test_valid_transaction_id_is_kept() -> None:
    """A valid UUID is kept and anything else replaced; the response has the same id."""
    async with forwarder_fixture() as here:
        response = await ask(here.app, request("GET", "/echo", f"TRANSACTIONID: {MINE}"))
        assert response.header("transactionId") == MINE
        assert here.bank.arrivals[-1].all("transactionId") == [MINE]
        for bad in ("17", "", f"{MINE}0", f"{MINE}\r\ntransactionId: {MINE}"):
            response = await ask(here.app, request("GET", "/echo", f"transactionId: {bad}"))
            (sent,) = here.bank.arrivals[-1].all("transactionId")
            assert UUID.fullmatch(sent)
            assert response.header("transactionId") == sent


async def test_transaction_ids_differ() -> None:
    """Each request without an id gets its own."""
    async with forwarder_fixture() as here, connect(here.app) as wire:
        responses = [await wire.ask() for _ in range(20)]
        assert len({response.header("transactionId") for response in responses}) == 20


async def test_correlation_id_is_added_if_configured() -> None:
    """Only where the caller sent none."""
    async with forwarder_fixture() as here:
        await ask(here.app, request("GET", "/echo", "CorrelationId: theirs"))
        assert here.bank.arrivals[-1].all("correlationId") == ["theirs"]
        await ask(here.app, request("GET", "/echo", f"transactionId: {MINE}"))
        assert here.bank.arrivals[-1].all("correlationId") == [MINE]
    async with forwarder_fixture(headers={"correlation_id": "false"}) as here:
        await ask(here.app)
        assert here.bank.arrivals[-1].all("correlationId") == []


async def test_base_path_is_not_duplicated() -> None:
    """A caller may include or omit it."""
    base = "/digitalbanking/stage"
    async with forwarder_fixture(Settings(base_path=base)) as here:
        for path in ("/echo/a", f"{base}/echo/a"):
            assert (await ask(here.app, request("GET", path))).status == 200
        assert [arrival.target for arrival in here.bank.arrivals] == [f"{base}/echo/a"] * 2


async def test_errors_of_the_bank_pass_unchanged() -> None:
    """They are not marked as errors of the proxy."""
    async with forwarder_fixture() as here:
        for status in (400, 403, 404, 429, 500, 503):
            response = await ask(here.app, request("GET", f"/status/{status}"))
            assert response.status == status
            assert response.header("x-proxy-error-source") is None
        assert [record.source for record in here.records] == ["none"] * 6


async def test_common_responses_are_forwarded() -> None:
    """Images, gzip, 204, no-cache and interim responses."""
    async with forwarder_fixture() as here:
        image = await ask(here.app, request("GET", "/v1/banking-images/IMG1"))
        assert image.status in (200, 404)
        packed = await ask(here.app, request("GET", "/gzip", "Cache-Control: no-cache"))
        assert packed.header("Content-Encoding") == "gzip"
        assert json.loads(gzip.decompress(packed.body))
        assert here.bank.arrivals[-1].header("Cache-Control") == "no-cache"
        none = await ask(here.app, request("GET", "/status/204"))
        assert (none.status, none.body, none.header("Content-Length")) == (204, b"", None)
        assert (await ask(here.app, request("GET", "/interim"))).json() == {"interim": 103}


async def test_record_of_a_request() -> None:
    """The record has what metrics and logs need."""
    async with forwarder_fixture() as here:
        await ask(here.app, request("POST", "/echo/a?secret=b", body=b"x" * 1000))
        (record,) = here.records
        assert (record.method, record.path, record.route) == ("POST", "/echo/a", "v2")
        assert (record.status, record.source, record.institution) == (200, "none", "00016")
        assert record.transaction_id == here.bank.arrivals[0].header("transactionId")
        assert record.sent_bytes == 1000
        assert record.received_bytes > 100
        assert record.started_at <= record.sent_at <= record.responded_at <= record.finished_at
        assert (record.replays, record.is_aborted, record.is_token_refused) == (0, False, False)


# Refused tokens.


async def test_refused_token_is_replaced_and_safe_request_repeated() -> None:
    """It is repeated once with a new token, and the caller sees only the second response."""
    async with forwarder_fixture(**FRESH) as here:
        await ask(here.app)
        here.bank.expire_all()
        for method in ("GET", "HEAD", "OPTIONS"):
            here.bank.arrivals.clear()
            response = await ask(here.app, request(method, "/echo"))
            assert response.status == 200
            first, second = here.bank.arrivals
            assert first.header("Authorization") != second.header("Authorization")
            assert first.header("transactionId") == second.header("transactionId")
            assert here.records[-1].replays == 1
            assert here.records[-1].is_token_refused
            here.bank.expire_all()


@pytest.mark.parametrize(
    "data",
    [
        *(request(method, "/echo") for method in ("POST", "PUT", "PATCH", "DELETE")),
        *(request(method, "/echo", body=b"x") for method in ("POST", "GET", "OPTIONS")),
        request("POST", "/echo", "Transfer-Encoding: chunked") + b"1\r\nx\r\n0\r\n\r\n",
    ],
)
async def test_unsafe_request_is_not_repeated(data: bytes) -> None:
    """The caller gets the refusal unchanged; the next request has a new token."""
    async with forwarder_fixture(**FRESH) as here:
        await ask(here.app)
        here.bank.expire_all()
        here.bank.arrivals.clear()
        response = await ask(here.app, data)
        assert response.status == 401
        assert response.json()["code"] == "CMN_90018"
        assert response.header("x-proxy-error-source") is None
        assert len(here.bank.arrivals) == 1
        assert (await ask(here.app, data)).status == 200


async def test_second_refusal_goes_to_the_caller() -> None:
    """There is one replay and no further token request."""
    async with forwarder_fixture(**FRESH) as here:
        here.bank.faults.append(Fault("resource", code="CMN_90018"))
        before = len(here.bank.token_requests)
        response = await ask(here.app)
        assert (response.status, response.json()["code"]) == (401, "CMN_90018")
        assert len(here.bank.arrivals) == 2
        assert len(here.bank.token_requests) == before + 1


async def test_second_refusal_costs_no_token_request() -> None:
    """A token fetched moments ago is replaced once; then another would not help."""
    async with forwarder_fixture() as here:
        here.bank.faults.append(Fault("resource", code="CMN_90018"))
        before = len(here.bank.token_requests)
        for _ in range(5):
            assert (await ask(here.app)).status == 401
        assert len(here.bank.arrivals) == 6
        assert len(here.bank.token_requests) == before + 1


async def test_former_token_is_sent_while_the_new_one_is_refused() -> None:
    """By a replica that does not know it yet; an unsafe request is not repeated."""
    async with forwarder_fixture() as here:
        old = (await here.app.tokens.token(V2)).authorization.decode()
        await renew(here.app)
        here.bank.arrivals.clear()
        here.bank.faults.append(Fault("resource", code="CMN_90018", times=1))
        before = len(here.bank.token_requests)
        assert (await ask(here.app)).status == 200
        assert here.bank.arrivals[1].header("authorization") == old
        await renew(here.app)
        here.bank.faults.append(Fault("resource", code="CMN_90018", times=1))
        assert (await ask(here.app, request("POST", "/echo", body=b"{}"))).status == 401
        assert (await ask(here.app, request("POST", "/echo", body=b"{}"))).status == 200
        assert len(here.bank.token_requests) == before + 1


async def test_request_is_sent_three_times_at_most() -> None:
    """With a refused token, the former one, and one that was fetched for it."""
    async with forwarder_fixture() as here:
        await ask(here.app)
        await renew(here.app)
        here.bank.arrivals.clear()
        before = len(here.bank.token_requests)
        here.bank.expire_all()
        assert (await ask(here.app)).status == 200
        sent = [arrival.header("authorization") for arrival in here.bank.arrivals]
        assert len(sent) == len(set(sent)) == 3
        assert len(here.bank.token_requests) == before + 1


async def renew(app: App) -> None:
    """Fetch a new token."""
    entry = next(entry for entry in app.tokens.entries() if entry.key == V2)
    old = entry.token
    app.tokens.start_refresh(entry)
    await until(lambda: entry.token is not old)


async def test_other_refusals_are_not_retried() -> None:
    """A refusal that no token can cure is forwarded at once."""
    code = "keymanagement.service.InvalidAPICallAsNoApiProductMatchFound"
    async with forwarder_fixture(**FRESH) as here:
        here.bank.faults.append(Fault("resource", code=code, status=401, shape="apigee"))
        assert (await ask(here.app)).status == 401
        assert len(here.bank.arrivals) == 1


@pytest.mark.parametrize("count", [50])
async def test_concurrent_refusals_cause_one_token_request(count: int) -> None:
    """A late refusal of the old token does not reject the new one."""
    async with forwarder_fixture(**FRESH) as here:
        await ask(here.app)
        here.bank.expire_all()
        before = len(here.bank.token_requests)
        responses = await asyncio.gather(*[ask(here.app) for _ in range(count)])
        assert {response.status for response in responses} == {200}
        assert len(here.bank.token_requests) == before + 1


async def test_token_error_on_replay_is_returned() -> None:
    """The response is a 503 with Retry-After, not a 401."""
    async with forwarder_fixture(**FRESH) as here:
        await ask(here.app)
        here.bank.expire_all()
        here.bank.faults.append(Fault("token", code="CMN_90000"))
        response = await ask(here.app)
        assert (response.status, response.error) == (503, "token-server")
        assert response.header("x-proxy-error-source") == "token"
        assert response.header("Retry-After")


async def test_idempotent_route_is_replayed_with_its_body() -> None:
    """Only configured routes, with a small body of known length."""
    replay: dict[str, Any] = {"replay": {"paths": ["/echo/again"], "max_body": "100"}}
    async with forwarder_fixture(**FRESH, **replay) as here:
        for data, status in (
            (request("POST", "/echo/again", body=b"hello"), 200),
            (request("POST", "/echo/again", "Expect: 100-continue", body=b"hello"), 200),
            (request("POST", "/echo/again", body=b"x" * 101), 401),
            (request("POST", "/echo/other", body=b"hello"), 401),
            (
                request("POST", "/echo/again", "Transfer-Encoding: chunked")
                + b"1\r\nx\r\n0\r\n\r\n",
                401,
            ),
        ):
            await ask(here.app)
            here.bank.expire_all()
            here.bank.arrivals.clear()
            async with connect(here.app) as wire:
                response = await wire.ask(data)
                if response.status == 100:
                    response = await wire.read_response()
                assert response.status == status
            assert len(here.bank.arrivals) == (2 if status == 200 else 1)
            assert here.bank.arrivals[-1].body == b"hello" or status == 401


async def test_caller_that_disconnects_during_a_refusal() -> None:
    """The upstream connection is not leaked."""
    body = b"HTTP/1.1 401 No\r\nContent-Length: 100\r\n\r\n{"
    async with scripted([read(), send(body), hold()]) as (app, upstream):
        async with connect(app) as wire:
            await wire.send(GET)
            await until(lambda: upstream.requests)
            await asyncio.sleep(0.05)
            wire.reset()
            await until(lambda: app.forwarder.in_flight == 0)
        assert app.pool.open_count == 0
        await until(lambda: upstream.open == 0)


# Reused connections.


@pytest.mark.parametrize("ending", [close(), reset()], ids=["closed", "reset"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
async def test_stale_connection_is_replaced(ending: ScriptStep, method: str) -> None:
    """A safe request is repeated when a reused connection ends without a byte, and counted."""
    stale: list[ScriptStep] = [read(), send(ok()), read(), ending]
    async with scripted(stale, respond_to_all(b"")) as (app, upstream):
        records: list[RequestRecord] = []
        app.forwarder._on_finished = [records.append]
        async with connect(app) as wire:
            assert (await wire.ask()).status == 200
            assert (await wire.ask(request(method, "/again"))).status == 200
        assert [record.replays for record in records] == [0, 1]
        assert upstream.connections == 2


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
async def test_unsafe_request_is_never_sent_twice(method: str) -> None:
    """The proxy cannot know whether the bank has processed it."""
    async with scripted([read(), send(ok()), read(), reset()], respond_to_all()) as (app, upstream):
        async with connect(app) as wire:
            assert (await wire.ask()).status == 200
            response = await wire.ask(request(method, "/transfers"))
            assert (response.status, response.error) == (502, "upstream-closed")
            assert (await wire.ask()).status == 200
        assert sum(one.startswith(method.encode()) for one in upstream.requests) == 1


async def test_safe_request_with_a_body_is_never_sent_twice() -> None:
    """A body makes a request unsafe to repeat."""
    async with scripted([read(), send(ok()), read(), reset()], respond_to_all()) as (app, upstream):
        async with connect(app) as wire:
            assert (await wire.ask()).status == 200
            assert (await wire.ask(request("GET", "/", body=b"x"))).status == 502
        assert len(upstream.requests) == 2


@pytest.mark.parametrize("first", [b"H", b"HTTP/1.1 200 OK\r\n"])
async def test_partial_response_is_not_retried(first: bytes) -> None:
    """A first byte of a response shows that the bank has processed the request."""
    async with scripted([read(), send(ok()), read(), send(first), reset()], respond_to_all()) as (
        app,
        upstream,
    ):
        async with connect(app) as wire:
            assert (await wire.ask()).status == 200
            assert (await wire.ask()).status == 502
        assert upstream.connections == 1


async def test_failed_new_connection_is_not_retried() -> None:
    """Only reused connections are replaced."""
    async with scripted([read(), reset()], respond_to_all()) as (app, upstream):
        assert (await ask(app)).status == 502
        assert upstream.connections == 1


async def test_stale_connection_is_replaced_once() -> None:
    """A second failure goes to the caller."""
    async with scripted(
        [read(), send(ok()), read(), reset()], [read(), reset()], respond_to_all()
    ) as (
        app,
        upstream,
    ):
        async with connect(app) as wire:
            assert (await wire.ask()).status == 200
            assert (await wire.ask()).status == 502
        assert upstream.connections == 2


# Early responses, and callers that disconnect.


async def test_early_response_to_an_unfinished_upload() -> None:
    """It is forwarded at once, and neither connection is reused."""
    script = [read_head(), send(ok(b"no, thanks")), hold()]
    async with scripted(script) as (app, upstream), connect(app) as wire:
        await wire.send(request("POST", "/", "Content-Length: 100000000") + b"x" * 1000)
        response = await wire.read_response()
        assert (response.status, response.body) == (200, b"no, thanks")
        assert response.header("Connection") == "close"
        assert await wire.read_to_end() == b""
        await until(lambda: app.pool.open_count == 0)
        await until(lambda: upstream.open == 0)


async def test_early_response_while_the_caller_keeps_sending() -> None:
    """A caller that reads after sending everything still gets the response."""
    script = [read_head(), send(ok(b"no, thanks")), hold()]
    async with scripted(script) as (app, _), connect(app) as wire:
        await wire.send(request("POST", "/", "Content-Length: 3000000"))
        await wire.send(*[b"x" * 100_000] * 30)
        assert (await wire.read_response()).body == b"no, thanks"


async def test_full_duplex_streaming() -> None:
    """A response streams while the upload does."""
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    script = [
        read_head(),
        send(head, b"3\r\none\r\n"),
        wait(),
        send(b"3\r\ntwo\r\n0\r\n\r\n"),
        hold(),
    ]
    async with scripted(script) as (app, upstream), connect(app) as wire:
        await wire.send(request("POST", "/", "Content-Length: 10") + b"hello")
        assert b"one" in await wire.reader.readuntil(b"one")
        await wire.send(b"world")
        upstream.may_continue.set()
        assert (await wire.read_to_end()).endswith(b"two\r\n0\r\n\r\n")


async def test_upload_that_the_bank_does_not_read_times_out() -> None:
    """It ends at the first-byte deadline."""
    script = [read_head(), wait()]
    async with (
        scripted(script, upstream={"first_byte_timeout": "0.3"}) as (app, upstream),
        connect(app) as wire,
    ):
        await wire.send(request("POST", "/", "Content-Length: 100000000"))
        sending = asyncio.create_task(wire.send(*[b"x" * 1_000_000] * 100))
        response = await wire.read_response()
        assert (response.status, response.error) == (504, "upstream-first-byte-timeout")
        sending.cancel()
        upstream.may_continue.set()


# Internal errors and shutdown.


async def test_internal_error_is_a_500() -> None:
    """The response has no details; the log has them."""
    crashes: list[BaseException] = []

    def broken(*_: object, **__: object) -> str:
        raise ValueError("sesame")

    async with forwarder_fixture() as here:
        here.app.forwarder._on_crash = crashes.append
        async with connect(here.app) as wire:
            response = await wire.ask(request("GET", "/echo", f"transactionId: {MINE}"))
            assert response.status == 200
            here.app.forwarder._upstream.user_injector = cast(
                UserContextInjector, SimpleNamespace(inject=broken)
            )
            response = await wire.ask(request("GET", "/echo", f"transactionId: {MINE}"))
            assert (response.status, response.error) == (500, "internal")
            assert b"sesame" not in response.body
        assert isinstance(crashes[0], ValueError)
        assert here.records[-1].source == "proxy"


async def test_missing_token_is_a_503() -> None:
    """It is never a 401."""
    settings = Settings(clients={"another": "one"})
    async with (
        Sandbox(settings) as sandbox,
        running(sandbox, ready=False) as app,
    ):
        response = await ask(app)
        assert (response.status, response.error) == (503, "token-bad-client")
        assert response.header("x-proxy-error-source") == "token"
        assert int(response.header("Retry-After") or 0) >= 1
        assert not sandbox.bank.arrivals


async def test_idle_waits_for_running_requests() -> None:
    """The drain waits for it."""
    async with forwarder_fixture() as here:
        await here.app.forwarder.wait_idle()
        async with connect(here.app) as wire:
            await wire.send(request("GET", "/slow?seconds=0.2"))
            await until(lambda: here.app.forwarder.in_flight == 1)
            await here.app.forwarder.wait_idle()
            assert here.app.forwarder.in_flight == 0
            assert (await wire.read_response()).status == 200


async def test_concurrent_callers_get_their_own_responses() -> None:
    """A hundred callers send twenty requests each over ten upstream connections."""

    async def caller(number: int, app: App) -> None:
        async with connect(app) as wire:
            for turn in range(20):
                await one(wire, f"/echo/{number}/{turn}", str(uuid.uuid4()))

    async def one(wire: RawConnection, target: str, transaction: str) -> None:
        response: RawResponse = await wire.ask(
            request("GET", target, f"transactionId: {transaction}")
        )
        assert response.header("transactionId") == transaction
        assert response.json()["target"] == target

    async with forwarder_fixture(upstream={"max_connections": "10", "max_wait": "30"}) as here:
        await asyncio.gather(*[caller(number, here.app) for number in range(100)])
        assert here.app.pool.opened_count <= 10


async def test_pipelined_requests_are_forwarded_in_sequence() -> None:
    """Pipelined requests of one caller are sent one after another."""
    async with (
        scripted([forever(read(), send(ok(b"yes")))]) as (app, upstream),
        connect(app) as wire,
    ):
        await wire.send(GET * 10)
        assert [(await wire.read_response()).body for _ in range(10)] == [b"yes"] * 10
        assert (upstream.connections, len(upstream.requests)) == (1, 10)
