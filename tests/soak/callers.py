"""The load: callers on connections of their own, who judge every answer they get."""

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
from tests.soak.promises import Fate, allowed
from tests.soak.setup import World

PATIENCE = 20.0
"""Seconds after which a request has no end: twice the deadlines that the proxy has."""

INSTITUTIONS = ("00016", "00017", "00018")
SIZE = 150_000
_LENGTH = re.compile(rb"(?i)\r\ncontent-length: (\d+)\r\n")
_TRANSACTION = re.compile(rb"(?i)\r\ntransactionid: ([^\r]*)\r\n")
_SOURCE = re.compile(rb"(?i)\r\nx-proxy-error-source: (\w+)\r\n")
_FATES = {b"token": Fate.TOKEN, b"upstream": Fate.UPSTREAM, b"proxy": Fate.BUSY}

HOSTILE = (
    b"GET /x HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"GET /at/00016/x HTTP/1.1\r\nHost: x\r\nContent-Length: +3\r\n\r\n",
    b"GET /at/00016/x HTTP/1.1\r\nHost: x\r\nX\x00: y\r\n\r\n",
    b"GET /at/00016/x HTTP/1.1\r\nHost: a@b\r\n\r\n",
    b"POST /oauth2/v1/token HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
    b"DELETE /x/../oauth2/v1/revoke HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET http://evil.test/at/00016/x HTTP/1.1\r\nHost: x\r\n\r\n",
    b"CONNECT evil.test:443 HTTP/1.1\r\nHost: x\r\n\r\n",
    b"POST /x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0x1\r\na\r\n0\r\n\r\n",
    b"\x16\x03\x01\x00\x05hello\r\n\r\n",
)


@dataclass
class Answer:
    """An answer, read to its end."""

    status: int
    head: bytes
    body: bytes


@dataclass
class Errand:
    """A request, and what a good answer to it looks like."""

    name: str
    request: bytes
    transaction: str
    is_good: Callable[[Answer], bool]
    leaves: bool = False
    hostile: bool = False


@dataclass
class Book:
    """What became of all requests. ``broken`` has those that no weather explains."""

    fates: Counter[tuple[str, Fate]] = field(default_factory=Counter)
    calm: Counter[Fate] = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)
    paid: dict[str, Fate] = field(default_factory=dict)
    slowest: float = 0.0

    @property
    def total(self) -> int:
        """Return how many requests there were."""
        return sum(self.fates.values())


class Caller:
    """Calls without rest but for a little, on a connection that it keeps while it may."""

    def __init__(self, world: World, book: Book, number: int) -> None:
        self._world = world
        self._book = book
        self._number = number
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def run(self, stop: asyncio.Event, rest: float) -> None:
        """Call until told to stop, resting up to ``rest`` seconds in between."""
        dice = self._world.dice
        while not stop.is_set():
            await self._call(errand_for(self._world))
            await asyncio.sleep(dice.uniform(0, rest))
        self._hang_up()

    async def _call(self, errand: Errand) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            async with asyncio.timeout(PATIENCE):
                fate, detail = await self._fate(errand)
        except TimeoutError:
            fate, detail = Fate.HUNG, ""
        ended = loop.time()
        self._note(errand, fate, detail, began, ended)
        if fate is not Fate.WELL:
            self._hang_up()

    def _note(self, errand: Errand, fate: Fate, detail: str, began: float, ended: float) -> None:
        book, sky = self._book, self._world.sky
        weather = sky.causes(began, ended)
        book.fates[errand.name, fate] += 1
        book.slowest = max(book.slowest, ended - began)
        if errand.name == "payment":
            book.paid[errand.transaction] = fate
        if not weather:
            book.calm[fate] += 1
        if not allowed(fate, weather):
            book.broken.append(
                f"{errand.name}: {fate.value} after {ended - began:.2f} s {detail}; "
                f"weather: {sky.told(began, ended)}"
            )

    async def _fate(self, errand: Errand) -> tuple[Fate, str]:
        try:
            reader, writer = await self._connected(fresh=errand.hostile or errand.leaves)
        except OSError as error:
            return Fate.LOST, repr(error)
        try:
            writer.write(errand.request)
            if errand.leaves:
                await asyncio.sleep(self._world.dice.uniform(0, 0.02))
                return Fate.GONE, ""
            answer = await read_answer(reader)
        except asyncio.IncompleteReadError as error:
            return (Fate.CUT if b"\r\n\r\n" in error.partial else Fate.LOST), "ended early"
        except OSError as error:
            return Fate.LOST, repr(error)
        if isinstance(answer, str):
            return Fate.CUT, answer
        return self._judged(errand, answer)

    def _judged(self, errand: Errand, answer: Answer) -> tuple[Fate, str]:
        source = _SOURCE.search(answer.head)
        if b"\r\nConnection: close\r\n" in answer.head:
            self._hang_up()
        if errand.hostile and source is not None and source[1] == b"caller":
            return Fate.OUTSIDE, ""
        if source is not None:
            fate = _FATES.get(source[1], Fate.WRONG)
            said = answer.body.decode("utf-8", "replace")[:300].replace("\n", " ")
            return (fate if answer.status >= 500 else Fate.WRONG), said
        if answer.body == b"first":  # what the bank says where it says two things at once
            return Fate.BANK, ""
        transaction = _TRANSACTION.search(answer.head)
        if transaction is None or transaction[1].decode() != errand.transaction:
            return Fate.WRONG, f"not ours: {answer.head!r}"
        if answer.status >= 400:
            return Fate.BANK, f"{answer.status} {answer.body[:200]!r}"
        return (Fate.WELL, "") if errand.is_good(answer) else (Fate.WRONG, f"{answer.body[:200]!r}")

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


async def read_answer(reader: asyncio.StreamReader) -> Answer | str:
    """Read one answer; return why where its body breaks off."""
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
    return Answer(status, head, body)


async def _chunks(reader: asyncio.StreamReader) -> bytes:
    body = b""
    while size := int(await reader.readuntil(b"\r\n"), 16):
        body += (await reader.readexactly(size + 2))[:-2]
    await reader.readexactly(2)
    return body


def errand_for(world: World) -> Errand:
    """Return the next errand, of the mixture."""
    kinds, weights = zip(*MIXTURE, strict=True)
    (kind,) = world.dice.choices(kinds, weights)
    made: Errand = kind(world)
    return made


def _head(world: World, method: str, target: str, *lines: str) -> tuple[str, str]:
    transaction = str(uuid.UUID(int=world.dice.getrandbits(128), version=4))
    shown = f"Proxy-Authorization: Bearer {world.shown}"
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


def _look(world: World) -> Errand:
    institution = world.dice.choice(INSTITUTIONS)
    target = f"/at/{institution}/echo/{world.dice.getrandbits(64):x}?q=1"
    head, transaction = _head(world, "GET", target, f"institutionId: {institution}")
    return Errand("look", head.encode(), transaction, lambda answer: _echoes(answer, target))


def _look_by_v1(world: World) -> Errand:
    institution = world.dice.choice(("00016", "00018"))
    target = f"/subscriptions/v1/fis/{institution}/echo/{world.dice.getrandbits(64):x}"
    head, transaction = _head(world, "GET", target)
    return Errand("look by V1", head.encode(), transaction, lambda answer: _echoes(answer, target))


def _post(world: World) -> Errand:
    target = f"/at/00016/echo/{world.dice.getrandbits(64):x}"
    body = world.dice.randbytes(world.dice.randrange(1, 3000))
    head, transaction = _head(world, "POST", target, f"Content-Length: {len(body)}")
    digest = hashlib.sha256(body).hexdigest()
    return Errand(
        "post",
        head.encode() + body,
        transaction,
        lambda answer: _echoes(answer, target) and digest in answer.body.decode(),
    )


def _pay(world: World) -> Errand:
    body = json.dumps({"amount": world.dice.randrange(1, 10_000)}).encode()
    lines = (f"Content-Length: {len(body)}", "Content-Type: application/json")
    head, transaction = _head(world, "POST", "/v1/transfers", *lines)
    return Errand(
        "payment",
        head.encode() + body,
        transaction,
        lambda answer: (
            answer.status == 201 and json.loads(answer.body)["order"] == json.loads(body)
        ),
    )


def _download(world: World) -> Errand:
    chunked = world.dice.choice(("", "&chunked=1"))
    head, transaction = _head(world, "GET", f"/download?bytes={SIZE}{chunked}")
    return Errand(
        "download",
        head.encode(),
        transaction,
        lambda answer: hashlib.sha256(answer.body).hexdigest() == pattern_sha256(SIZE),
    )


def _upload(world: World) -> Errand:
    head, transaction = _head(world, "PUT", "/upload", "Transfer-Encoding: chunked")
    return Errand(
        "upload",
        head.encode() + _uploaded(),
        transaction,
        lambda answer: json.loads(answer.body)["sha256"] == pattern_sha256(SIZE),
    )


@cache
def _uploaded() -> bytes:
    blocks = b"".join(b"%x\r\n%b\r\n" % (len(block), block) for block in pattern(SIZE))
    return blocks + b"0\r\n\r\n"


def _attack(world: World) -> Errand:
    request = world.dice.choice(HOSTILE)
    shown = b"\r\nProxy-Authorization: Bearer %b\r\n\r\n" % world.shown.encode()
    return Errand(
        "attack",
        request.replace(b"\r\n\r\n", shown, 1),
        "",
        lambda _: False,
        hostile=True,
    )


def _leave(world: World) -> Errand:
    errand = world.dice.choice((_look, _post, _download))(world)
    return Errand("leave", errand.request, errand.transaction, errand.is_good, leaves=True)


MIXTURE: tuple[tuple[Callable[[World], Errand], int], ...] = (
    (_look, 50),
    (_look_by_v1, 10),
    (_post, 12),
    (_pay, 12),
    (_download, 5),
    (_upload, 4),
    (_attack, 4),
    (_leave, 3),
)
"""What callers do, and how often in a hundred."""


def _echoes(answer: Answer, target: str) -> bool:
    with suppress(ValueError, KeyError):
        return bool(json.loads(answer.body)["target"] == target)
    return False
