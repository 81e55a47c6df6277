"""The clients, each with its own connection, which check each response."""

import asyncio
import hashlib
import json
import re
import uuid
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache

from proxy.sandbox import pattern, pattern_sha256
from tests.soak.promises import RequestOutcome, allowed
from tests.soak.setup import SoakSetup

TIMEOUT = 60.0
"""Seconds until a request counts as hung: many times the proxy's deadlines."""

INSTITUTIONS = ("00016", "00017", "00018")
SIZE = 150_000
_LENGTH = re.compile(rb"(?i)\r\ncontent-length: (\d+)\r\n")
_TRANSACTION = re.compile(rb"(?i)\r\ntransactionid: ([^\r]*)\r\n")
_SOURCE = re.compile(rb"(?i)\r\nx-proxy-error-source: (\w+)\r\n")
_OUTCOMES = {
    b"token": RequestOutcome.TOKEN,
    b"upstream": RequestOutcome.UPSTREAM,
    b"proxy": RequestOutcome.BUSY,
}

HOSTILE = (
    b"GET /x HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"GET /at/00016/x HTTP/1.1\r\nHost: x\r\nContent-Length: +3\r\n\r\n",
    b"GET /at/00016/x HTTP/1.1\r\nHost: x\r\nX\x00: y\r\n\r\n",
    b"GET /at/00016/x HTTP/1.1\r\nHost: a@b\r\n\r\n",
    b"POST /oauth2/v1/token HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
    b"DELETE /x/../oauth2/v1/revoke HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET http://evil.test/at/00016/x HTTP/1.1\r\nHost: x\r\n\r\n",
    b"CONNECT evil.test:443 HTTP/1.1\r\nHost: x\r\n\r\n",
    b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0x1\r\na\r\n0\r\n\r\n",
    b"\x16\x03\x01\x00\x05hello\r\n\r\n",
)


@dataclass
class ReceivedResponse:
    """A complete response."""

    status: int
    head: bytes
    body: bytes


@dataclass
class SoakRequest:
    """A request, and the check of its response."""

    name: str
    request: bytes
    transaction: str
    is_good: Callable[[ReceivedResponse], bool]
    leaves: bool = False
    hostile: bool = False


@dataclass
class Outcomes:
    """The outcomes of all requests. ``broken`` has those that no fault permits."""

    outcomes: Counter[tuple[str, RequestOutcome]] = field(default_factory=Counter)
    calm: Counter[RequestOutcome] = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)
    payments: dict[str, RequestOutcome] = field(default_factory=dict)
    slowest: float = 0.0

    @property
    def total(self) -> int:
        """Return how many requests there were."""
        return sum(self.outcomes.values())


class Caller:
    """Sends requests with short pauses, on a connection that it keeps while possible."""

    def __init__(self, setup: SoakSetup, outcomes: Outcomes, number: int) -> None:
        self._world = setup
        self._book = outcomes
        self._number = number
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def run(self, stop: asyncio.Event, rest: float) -> None:
        """Send requests until ``stop`` is set, with pauses of up to ``rest`` seconds."""
        dice = self._world.random
        while not stop.is_set():
            with self._world.presenting():
                await self._call(next_request(self._world))
            await asyncio.sleep(dice.uniform(0, rest))
        self._hang_up()

    async def _call(self, soak_request: SoakRequest) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            async with asyncio.timeout(TIMEOUT):
                result, detail = await self._outcome(soak_request)
        except TimeoutError:
            result, detail = RequestOutcome.HUNG, ""
        ended = loop.time()
        self._note(soak_request, result, detail, began, ended)
        if result is not RequestOutcome.OK:
            self._hang_up()

    def _note(
        self,
        soak_request: SoakRequest,
        result: RequestOutcome,
        detail: str,
        began: float,
        ended: float,
    ) -> None:
        outcomes, schedule = self._book, self._world.fault_schedule
        causes = schedule.causes(began, ended)
        outcomes.outcomes[soak_request.name, result] += 1
        outcomes.slowest = max(outcomes.slowest, ended - began)
        if soak_request.name == "payment":
            outcomes.payments[soak_request.transaction] = result
        if not causes:
            outcomes.calm[result] += 1
        if not allowed(result, causes):
            outcomes.broken.append(
                f"{soak_request.name}: {result.value} after {ended - began:.2f} s {detail}; "
                f"faults: {schedule.describe(began, ended)}"
            )

    async def _outcome(self, soak_request: SoakRequest) -> tuple[RequestOutcome, str]:
        try:
            reader, writer = await self._connected(
                fresh=soak_request.hostile or soak_request.leaves
            )
        except OSError as error:
            return RequestOutcome.LOST, repr(error)
        try:
            writer.write(soak_request.request)
            if soak_request.leaves:
                await asyncio.sleep(self._world.random.uniform(0, 0.02))
                return RequestOutcome.CALLER_LEFT, ""
            response = await read_response(reader)
        except asyncio.IncompleteReadError as error:
            return (
                RequestOutcome.ABORTED if b"\r\n\r\n" in error.partial else RequestOutcome.LOST
            ), "ended early"
        except OSError as error:
            return RequestOutcome.LOST, repr(error)
        if isinstance(response, str):
            return RequestOutcome.ABORTED, response
        return self._judged(soak_request, response)

    def _judged(
        self, soak_request: SoakRequest, response: ReceivedResponse
    ) -> tuple[RequestOutcome, str]:
        source = _SOURCE.search(response.head)
        if b"\r\nConnection: close\r\n" in response.head:
            self._hang_up()
        if soak_request.hostile and source is not None and source[1] == b"caller":
            return RequestOutcome.HOSTILE_REFUSED, ""
        if source is not None:
            result = _OUTCOMES.get(source[1], RequestOutcome.WRONG)
            said = response.body.decode("utf-8", "replace")[:300].replace("\n", " ")
            return (result if response.status >= 500 else RequestOutcome.WRONG), said
        if response.body == b"first":  # the sandbox's error for contradicting parameters
            return RequestOutcome.BANK, ""
        transaction = _TRANSACTION.search(response.head)
        if transaction is None or transaction[1].decode() != soak_request.transaction:
            return RequestOutcome.WRONG, f"not ours: {response.head!r}"
        if response.status >= 400:
            return RequestOutcome.BANK, f"{response.status} {response.body[:200]!r}"
        return (
            (RequestOutcome.OK, "")
            if soak_request.is_good(response)
            else (RequestOutcome.WRONG, f"{response.body[:200]!r}")
        )

    async def _connected(self, *, fresh: bool) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if fresh:
            self._hang_up()
        if self._streams is None:
            host, _, port = self._world.proxy.listen.rpartition(":")
            self._streams = await asyncio.open_connection(host, int(port), limit=1 << 20)
        return self._streams

    def _hang_up(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


async def read_response(reader: asyncio.StreamReader) -> ReceivedResponse | str:
    """Read one response, and the reason if its body breaks off."""
    head = await reader.readuntil(b"\r\n\r\n")
    status = int(head[9:12])
    length = _LENGTH.search(head)
    try:
        if length is not None:
            body = await reader.readexactly(int(length[1]))
        elif status in (204, 304):
            body = b""
        else:
            body = await _chunks(reader)
    except (asyncio.IncompleteReadError, OSError, ValueError) as error:
        return f"{status}, body: {type(error).__name__}"
    return ReceivedResponse(status, head, body)


async def _chunks(reader: asyncio.StreamReader) -> bytes:
    body = b""
    while size := int(await reader.readuntil(b"\r\n"), 16):
        body += (await reader.readexactly(size + 2))[:-2]
    await reader.readexactly(2)
    return body


def next_request(setup: SoakSetup) -> SoakRequest:
    """Return the next request of the mixture."""
    kinds, weights = zip(*MIXTURE, strict=True)
    (kind,) = setup.random.choices(kinds, weights)
    made: SoakRequest = kind(setup)
    return made


def _head(setup: SoakSetup, method: str, target: str, *lines: str) -> tuple[str, str]:
    transaction = str(uuid.UUID(int=setup.random.getrandbits(128), version=4))
    shown = f"Proxy-Authorization: Bearer {setup.callers_secret}"
    stolen = f"Authorization: Bearer stolen-{transaction}"
    head = [
        f"{method} {target} HTTP/1.1",
        "Host: bank",
        f"transactionId: {transaction}",
        shown,
        stolen,
        *lines,
    ]
    return "\r\n".join([*head, "", ""]), transaction


def _look(setup: SoakSetup) -> SoakRequest:
    institution = setup.random.choice(INSTITUTIONS)
    target = f"/at/{institution}/echo/{setup.random.getrandbits(64):x}?q=1"
    head, transaction = _head(setup, "GET", target, f"institutionId: {institution}")
    return SoakRequest(
        "look", head.encode(), transaction, lambda response: _echoes(response, target)
    )


def _look_by_v1(setup: SoakSetup) -> SoakRequest:
    institution = setup.random.choice(("00016", "00018"))
    target = f"/subscriptions/v1/fis/{institution}/echo/{setup.random.getrandbits(64):x}"
    head, transaction = _head(setup, "GET", target)
    return SoakRequest(
        "look by V1", head.encode(), transaction, lambda response: _echoes(response, target)
    )


def _post(setup: SoakSetup) -> SoakRequest:
    target = f"/at/00016/echo/{setup.random.getrandbits(64):x}"
    body = setup.random.randbytes(setup.random.randrange(1, 3000))
    head, transaction = _head(setup, "POST", target, f"Content-Length: {len(body)}")
    digest = hashlib.sha256(body).hexdigest()
    return SoakRequest(
        "post",
        head.encode() + body,
        transaction,
        lambda response: _echoes(response, target) and digest in response.body.decode(),
    )


def _pay(setup: SoakSetup) -> SoakRequest:
    body = json.dumps({"amount": setup.random.randrange(1, 10_000)}).encode()
    lines = (f"Content-Length: {len(body)}", "Content-Type: application/json")
    head, transaction = _head(setup, "POST", "/v1/transfers", *lines)
    return SoakRequest(
        "payment",
        head.encode() + body,
        transaction,
        lambda response: (
            response.status == 201 and json.loads(response.body)["order"] == json.loads(body)
        ),
    )


def _download(setup: SoakSetup) -> SoakRequest:
    chunked = setup.random.choice(("", "&chunked=1"))
    head, transaction = _head(setup, "GET", f"/download?bytes={SIZE}{chunked}")
    return SoakRequest(
        "download",
        head.encode(),
        transaction,
        lambda response: hashlib.sha256(response.body).hexdigest() == pattern_sha256(SIZE),
    )


def _upload(setup: SoakSetup) -> SoakRequest:
    head, transaction = _head(setup, "PUT", "/upload", "Transfer-Encoding: chunked")
    return SoakRequest(
        "upload",
        head.encode() + _uploaded(),
        transaction,
        lambda response: json.loads(response.body)["sha256"] == pattern_sha256(SIZE),
    )


@cache
def _uploaded() -> bytes:
    blocks = b"".join(b"%x\r\n%b\r\n" % (len(block), block) for block in pattern(SIZE))
    return blocks + b"0\r\n\r\n"


def _attack(setup: SoakSetup) -> SoakRequest:
    request = setup.random.choice(HOSTILE)
    shown = b"\r\nProxy-Authorization: Bearer %b\r\n\r\n" % setup.callers_secret.encode()
    return SoakRequest(
        "attack",
        request.replace(b"\r\n\r\n", shown, 1),
        "",
        lambda _: False,
        hostile=True,
    )


def _leave(setup: SoakSetup) -> SoakRequest:
    soak_request = setup.random.choice((_look, _post, _download))(setup)
    return SoakRequest(
        "leave", soak_request.request, soak_request.transaction, soak_request.is_good, leaves=True
    )


MIXTURE: tuple[tuple[Callable[[SoakSetup], SoakRequest], int], ...] = (
    (_look, 50),
    (_look_by_v1, 10),
    (_post, 12),
    (_pay, 12),
    (_download, 5),
    (_upload, 4),
    (_attack, 4),
    (_leave, 3),
)
"""The kinds of request, and their share in percent."""


def _echoes(response: ReceivedResponse, target: str) -> bool:
    with suppress(ValueError, KeyError):
        return bool(json.loads(response.body)["target"] == target)
    return False
