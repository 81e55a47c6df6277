"""A request's way from end to end: through a running proxy to a real bank, or to a scripted one."""

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
from tests.support.raw_client import GET, RawConnection, RawResponse, ask, connect, request
from tests.support.running import running, until
from tests.support.upstream_server import (
    ScriptedUpstream,
    ScriptStep,
    behaving,
    close,
    forever,
    hold,
    ok,
    read,
    read_head,
    reset,
    send,
    wait,
)

EVERY_LOOP = True

UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
MINE = "5F1D7A8E-0c54-4b1e-9d0a-6f2f6f7c1a01"
FRESH: dict[str, Any] = {"token": {"min_interval": "0.001"}}
"""Lets a token be thrown away right after it was issued."""


class ForwarderFixture:
    """A running proxy, the bank behind it, and the record of every request."""

    def __init__(self, app: App, bank: Bank) -> None:
        self.app = app
        self.bank = bank
        self.records: list[RequestRecord] = []
        app.forwarder._on_finished = [self.records.append]


@asynccontextmanager
async def forwarder_fixture(
    settings: Settings | None = None, **overrides: Any
) -> AsyncIterator[ForwarderFixture]:
    """Run a proxy before a sandbox; at the end, nothing of the requests may be left."""
    async with Sandbox(settings) as sandbox, running(sandbox, **overrides) as app:
        yield ForwarderFixture(app, sandbox.bank)
        await until(lambda: app.forwarder.in_flight == 0)
        assert app.pool.open_count == app.pool.idle_count
        assert not app.forwarder._tasks._running


@asynccontextmanager
async def scripted(
    *scripts: Sequence[ScriptStep], **overrides: Any
) -> AsyncIterator[tuple[App, ScriptedUpstream]]:
    """Run a proxy before an upstream that does what its scripts say."""
    async with (
        ScriptedUpstream(*scripts) as upstream,
        running(upstream.url, bearer_token="scripted", **overrides) as app,
    ):
        yield app, upstream
        await until(lambda: app.forwarder.in_flight == 0)
        assert app.pool.open_count == app.pool.idle_count


# What arrives.


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
@pytest.mark.parametrize(
    "body", [None, b"", b"hello", b"x" * 200_000], ids=["no", "0", "5", "200k"]
)
async def test_every_method_with_and_without_a_body(method: str, body: bytes | None) -> None:
    """Method, target, body and headers arrive; so does the answer, on one connection."""
    async with forwarder_fixture() as here, connect(here.app) as wire:
        for _ in range(2):
            answer = await wire.ask(request(method, "/echo/a?b=c", "X-Mine: 1", body=body))
            assert answer.status == 200
            assert bool(answer.body) == (method != "HEAD")
        first, second = here.bank.arrivals
        assert (first.method, first.target) == (method, "/echo/a?b=c")
        assert first.body_length == len(body or b"")
        assert first.all("X-Mine") == ["1"]
        assert first.all("Content-Length") == ([] if body is None else [str(len(body))])
        assert first.all("Transfer-Encoding") == []
        assert second.body_sha256 == first.body_sha256
        assert here.app.pool.opened_count == 1


async def test_our_headers() -> None:
    """The token, the transaction and the institution stand there once, last."""
    async with forwarder_fixture() as here:
        assert (await ask(here.app)).status == 200
        (arrival,) = here.bank.arrivals
        (token,) = here.bank.live_tokens()
        transaction = arrival.header("transactionId")
        assert transaction is not None
        assert UUID.fullmatch(transaction)
        assert arrival.headers == [
            (b"Host", here.bank.url.removeprefix("http://").encode()),
            (b"Authorization", f"Bearer {token.text}".encode()),
            (b"transactionId", transaction.encode()),
            (b"institutionId", b"00016"),
            (b"correlationId", transaction.encode()),
        ]


async def test_transaction_id_of_the_callers_is_kept() -> None:
    """A valid UUID is; anything else is replaced; the answer carries what was sent."""
    async with forwarder_fixture() as here:
        answer = await ask(here.app, request("GET", "/echo", f"TRANSACTIONID: {MINE}"))
        assert answer.header("transactionId") == MINE
        assert here.bank.arrivals[-1].all("transactionId") == [MINE]
        for bad in ("17", "", f"{MINE}0", f"{MINE}\r\ntransactionId: {MINE}"):
            answer = await ask(here.app, request("GET", "/echo", f"transactionId: {bad}"))
            (sent,) = here.bank.arrivals[-1].all("transactionId")
            assert UUID.fullmatch(sent)
            assert answer.header("transactionId") == sent


async def test_transaction_ids_differ() -> None:
    """Each request without one gets its own."""
    async with forwarder_fixture() as here, connect(here.app) as wire:
        answers = [await wire.ask() for _ in range(20)]
        assert len({answer.header("transactionId") for answer in answers}) == 20


async def test_correlation_id() -> None:
    """Added where the caller sent none and the setting says so."""
    async with forwarder_fixture() as here:
        await ask(here.app, request("GET", "/echo", "CorrelationId: theirs"))
        assert here.bank.arrivals[-1].all("correlationId") == ["theirs"]
        await ask(here.app, request("GET", "/echo", f"transactionId: {MINE}"))
        assert here.bank.arrivals[-1].all("correlationId") == [MINE]
    async with forwarder_fixture(headers={"correlation_id": "false"}) as here:
        await ask(here.app)
        assert here.bank.arrivals[-1].all("correlationId") == []


async def test_base_path_is_not_given_twice() -> None:
    """A caller may use it or leave it out."""
    base = "/digitalbanking/stage"
    async with forwarder_fixture(Settings(base_path=base)) as here:
        for path in ("/echo/a", f"{base}/echo/a"):
            assert (await ask(here.app, request("GET", path))).status == 200
        assert [arrival.target for arrival in here.bank.arrivals] == [f"{base}/echo/a"] * 2


async def test_errors_of_the_banks_are_its_own() -> None:
    """They come through as they are, and say of themselves that they are none of ours."""
    async with forwarder_fixture() as here:
        for status in (400, 403, 404, 429, 500, 503):
            answer = await ask(here.app, request("GET", f"/status/{status}"))
            assert answer.status == status
            assert answer.header("x-proxy-error-source") is None
        assert [record.source for record in here.records] == ["none"] * 6


async def test_traffic_to_expect() -> None:
    """Images, gzip, 204, no-cache, interim answers."""
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
    """What metrics and logs are made from."""
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


async def test_refused_token_is_replaced_and_a_safe_request_sent_again() -> None:
    """Once, with a new token; the caller notices nothing."""
    async with forwarder_fixture(**FRESH) as here:
        await ask(here.app)
        here.bank.expire_all()
        for method in ("GET", "HEAD", "OPTIONS"):
            here.bank.arrivals.clear()
            answer = await ask(here.app, request(method, "/echo"))
            assert answer.status == 200
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
async def test_what_could_do_harm_is_not_sent_again(data: bytes) -> None:
    """The refusal goes to the caller as it came; the next request has a new token."""
    async with forwarder_fixture(**FRESH) as here:
        await ask(here.app)
        here.bank.expire_all()
        here.bank.arrivals.clear()
        answer = await ask(here.app, data)
        assert answer.status == 401
        assert answer.json()["code"] == "CMN_90018"
        assert answer.header("x-proxy-error-source") is None
        assert len(here.bank.arrivals) == 1
        assert (await ask(here.app, data)).status == 200


async def test_second_refusal_goes_to_the_caller() -> None:
    """As it came, after one replay, and no token is fetched over and over."""
    async with forwarder_fixture(**FRESH) as here:
        here.bank.faults.append(Fault("resource", code="CMN_90018"))
        before = len(here.bank.token_requests)
        answer = await ask(here.app)
        assert (answer.status, answer.json()["code"]) == (401, "CMN_90018")
        assert len(here.bank.arrivals) == 2
        assert len(here.bank.token_requests) == before + 1


async def test_token_minted_moments_ago_is_not_thrown_away() -> None:
    """If the bank refuses even that, another will not help."""
    async with forwarder_fixture() as here:
        here.bank.faults.append(Fault("resource", code="CMN_90018"))
        before = len(here.bank.token_requests)
        for _ in range(5):
            assert (await ask(here.app)).status == 401
        assert len(here.bank.arrivals) == 5
        assert len(here.bank.token_requests) == before


async def test_refusal_that_no_token_cures() -> None:
    """Is passed on at once."""
    code = "keymanagement.service.InvalidAPICallAsNoApiProductMatchFound"
    async with forwarder_fixture(**FRESH) as here:
        here.bank.faults.append(Fault("resource", code=code, status=401, shape="apigee"))
        assert (await ask(here.app)).status == 401
        assert len(here.bank.arrivals) == 1


@pytest.mark.parametrize("count", [50])
async def test_many_refused_at_once(count: int) -> None:
    """One token request for all of them; a late refusal of the old token drops no new one."""
    async with forwarder_fixture(**FRESH) as here:
        await ask(here.app)
        here.bank.expire_all()
        before = len(here.bank.token_requests)
        answers = await asyncio.gather(*[ask(here.app) for _ in range(count)])
        assert {answer.status for answer in answers} == {200}
        assert len(here.bank.token_requests) == before + 1


async def test_no_token_on_the_second_try() -> None:
    """Then the token's error is the answer: not a 401, and with when to try again."""
    async with forwarder_fixture(**FRESH) as here:
        await ask(here.app)
        here.bank.expire_all()
        here.bank.faults.append(Fault("token", code="CMN_90000"))
        answer = await ask(here.app)
        assert (answer.status, answer.error) == (503, "token-server")
        assert answer.header("x-proxy-error-source") == "token"
        assert answer.header("Retry-After")


async def test_named_idempotent_route_is_sent_again_with_its_body() -> None:
    """Where the operator allows it, for a small body of known length; not for others."""
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
                answer = await wire.ask(data)
                if answer.status == 100:
                    answer = await wire.read_response()
                assert answer.status == status
            assert len(here.bank.arrivals) == (2 if status == 200 else 1)
            assert here.bank.arrivals[-1].body == b"hello" or status == 401


async def test_caller_that_goes_away_while_a_refusal_is_read() -> None:
    """The connection on which it came is not lost."""
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
    """A safe request on a reused connection that ends without a byte goes again, and is counted."""
    stale: list[ScriptStep] = [read(), send(ok()), read(), ending]
    async with scripted(stale, behaving(b"")) as (app, upstream):
        records: list[RequestRecord] = []
        app.forwarder._on_finished = [records.append]
        async with connect(app) as wire:
            assert (await wire.ask()).status == 200
            assert (await wire.ask(request(method, "/again"))).status == 200
        assert [record.replays for record in records] == [0, 1]
        assert upstream.connections == 2


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
async def test_unsafe_request_is_never_sent_twice(method: str) -> None:
    """Whether the bank has seen it or not: that is the caller's to find out."""
    async with scripted([read(), send(ok()), read(), reset()], behaving()) as (app, upstream):
        async with connect(app) as wire:
            assert (await wire.ask()).status == 200
            answer = await wire.ask(request(method, "/transfers"))
            assert (answer.status, answer.error) == (502, "upstream-closed")
            assert (await wire.ask()).status == 200
        assert sum(one.startswith(method.encode()) for one in upstream.requests) == 1


async def test_safe_request_with_a_body_is_never_sent_twice() -> None:
    """A body makes it another thing."""
    async with scripted([read(), send(ok()), read(), reset()], behaving()) as (app, upstream):
        async with connect(app) as wire:
            assert (await wire.ask()).status == 200
            assert (await wire.ask(request("GET", "/", body=b"x"))).status == 502
        assert len(upstream.requests) == 2


@pytest.mark.parametrize("first", [b"H", b"HTTP/1.1 200 OK\r\n"])
async def test_answer_that_has_begun_is_not_asked_for_again(first: bytes) -> None:
    """One byte of an answer, and the request was worked on."""
    async with scripted([read(), send(ok()), read(), send(first), reset()], behaving()) as (
        app,
        upstream,
    ):
        async with connect(app) as wire:
            assert (await wire.ask()).status == 200
            assert (await wire.ask()).status == 502
        assert upstream.connections == 1


async def test_new_connection_that_fails_is_not_replaced() -> None:
    """Only the habit of giving up idle connections is made good."""
    async with scripted([read(), reset()], behaving()) as (app, upstream):
        assert (await ask(app)).status == 502
        assert upstream.connections == 1


async def test_replaced_only_once() -> None:
    """A second failure is the answer."""
    async with scripted([read(), send(ok()), read(), reset()], [read(), reset()], behaving()) as (
        app,
        upstream,
    ):
        async with connect(app) as wire:
            assert (await wire.ask()).status == 200
            assert (await wire.ask()).status == 502
        assert upstream.connections == 2


# Answers that come early, callers that go.


async def test_early_answer_to_an_unfinished_upload() -> None:
    """It is passed on at once; neither connection is used again."""
    script = [read_head(), send(ok(b"no, thanks")), hold()]
    async with scripted(script) as (app, upstream), connect(app) as wire:
        await wire.send(request("POST", "/", "Content-Length: 100000000") + b"x" * 1000)
        answer = await wire.read_response()
        assert (answer.status, answer.body) == (200, b"no, thanks")
        assert answer.header("Connection") == "close"
        assert await wire.read_to_end() == b""
        await until(lambda: app.pool.open_count == 0)
        await until(lambda: upstream.open == 0)


async def test_early_answer_while_the_caller_keeps_sending() -> None:
    """A caller that looks only when it has sent all still gets to read it."""
    script = [read_head(), send(ok(b"no, thanks")), hold()]
    async with scripted(script) as (app, _), connect(app) as wire:
        await wire.send(request("POST", "/", "Content-Length: 3000000"))
        await wire.send(*[b"x" * 100_000] * 30)
        assert (await wire.read_response()).body == b"no, thanks"


async def test_answer_that_streams_while_the_upload_does() -> None:
    """Both ways at once."""
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


async def test_upload_that_the_bank_does_not_read() -> None:
    """Ends at the first-byte deadline, like any other silence."""
    script = [read_head(), wait()]
    async with (
        scripted(script, upstream={"first_byte_timeout": "0.3"}) as (app, upstream),
        connect(app) as wire,
    ):
        await wire.send(request("POST", "/", "Content-Length: 100000000"))
        sending = asyncio.create_task(wire.send(*[b"x" * 1_000_000] * 100))
        answer = await wire.read_response()
        assert (answer.status, answer.error) == (504, "upstream-first-byte-timeout")
        sending.cancel()
        upstream.may_continue.set()


# Our own failures.


async def test_mistake_of_our_own() -> None:
    """Is a 500 that says nothing of itself, and stands in the log."""
    crashes: list[BaseException] = []

    def broken(*_: object, **__: object) -> str:
        raise ValueError("sesame")

    async with forwarder_fixture() as here:
        here.app.forwarder._on_crash = crashes.append
        async with connect(here.app) as wire:
            answer = await wire.ask(request("GET", "/echo", f"transactionId: {MINE}"))
            assert answer.status == 200
            here.app.forwarder._user_injector = cast(
                UserContextInjector, SimpleNamespace(inject=broken)
            )
            answer = await wire.ask(request("GET", "/echo", f"transactionId: {MINE}"))
            assert (answer.status, answer.error) == (500, "internal")
            assert b"sesame" not in answer.body
        assert isinstance(crashes[0], ValueError)
        assert here.records[-1].source == "proxy"


async def test_no_token() -> None:
    """No usable token is a 503 of the token's, never a 401."""
    settings = Settings(clients={"another": "one"})
    async with (
        Sandbox(settings) as sandbox,
        running(sandbox, ready=False) as app,
    ):
        answer = await ask(app)
        assert (answer.status, answer.error) == (503, "token-bad-client")
        assert answer.header("x-proxy-error-source") == "token"
        assert int(answer.header("Retry-After") or 0) >= 1
        assert not sandbox.bank.arrivals


async def test_idle_waits_for_what_runs() -> None:
    """The drain's question."""
    async with forwarder_fixture() as here:
        await here.app.forwarder.wait_idle()
        async with connect(here.app) as wire:
            await wire.send(request("GET", "/slow?seconds=0.2"))
            await until(lambda: here.app.forwarder.in_flight == 1)
            await here.app.forwarder.wait_idle()
            assert here.app.forwarder.in_flight == 0
            assert (await wire.read_response()).status == 200


async def test_concurrent_callers_get_their_own_answers() -> None:
    """A hundred callers, twenty requests each, ten connections to the bank."""

    async def caller(number: int, app: App) -> None:
        async with connect(app) as wire:
            for turn in range(20):
                await one(wire, f"/echo/{number}/{turn}", str(uuid.uuid4()))

    async def one(wire: RawConnection, target: str, transaction: str) -> None:
        answer: RawResponse = await wire.ask(
            request("GET", target, f"transactionId: {transaction}")
        )
        assert answer.header("transactionId") == transaction
        assert answer.json()["target"] == target

    async with forwarder_fixture(upstream={"max_connections": "10", "max_wait": "30"}) as here:
        await asyncio.gather(*[caller(number, here.app) for number in range(100)])
        assert here.app.pool.opened_count <= 10


async def test_keep_alive_upstream_under_pipelining() -> None:
    """Pipelined requests of one caller go to the bank one after another."""
    async with (
        scripted([forever(read(), send(ok(b"yes")))]) as (app, upstream),
        connect(app) as wire,
    ):
        await wire.send(GET * 10)
        assert [(await wire.read_response()).body for _ in range(10)] == [b"yes"] * 10
        assert (upstream.connections, len(upstream.requests)) == (1, 10)
