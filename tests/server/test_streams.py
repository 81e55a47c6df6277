"""Properties of the server: requests in any pieces, and arbitrary bytes."""

import asyncio
from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.server.limits import CallerLimits
from tests.server.listening import listening
from tests.support.raw_client import connect

QUICK = settings(max_examples=60)


@dataclass(frozen=True)
class Sent:
    """A request: its bytes and its expected echo."""

    data: bytes
    echo: bytes


BODIES = st.binary(max_size=300) | st.just(b"GET /evil HTTP/1.1\r\nHost: x\r\n\r\n")
UPGRADES = st.sampled_from(["", "Connection: Upgrade\r\nUpgrade: h2c\r\n"])


@st.composite
def requests(draw: st.DrawFn) -> Sent:
    """Draw a request with any framing."""
    method = draw(st.sampled_from(["GET", "POST", "PUT", "DELETE", "OPTIONS"]))
    target = draw(st.text("abc/?=%", max_size=10))
    head = f"{method} /{target} HTTP/1.1\r\nHost: x\r\n{draw(UPGRADES)}"
    framing = draw(st.sampled_from(["none", "sized", "chunked"]))
    body = draw(BODIES) if framing != "none" else b""
    if framing == "sized":
        head += f"Content-Length: {len(body)}\r\n"
    data = body
    if framing == "chunked":
        head += "Transfer-Encoding: chunked\r\n"
        cut = draw(st.integers(0, len(body)))
        blocks = [block for block in (body[:cut], body[cut:]) if block]
        data = b"".join(b"%x\r\n%b\r\n" % (len(block), block) for block in blocks)
        data += b"0\r\n" + draw(st.sampled_from([b"", b"X-Trailer: x\r\n"])) + b"\r\n"
    return Sent(head.encode() + b"\r\n" + data, f"/{target}".encode() + body)


@QUICK
@given(st.lists(requests(), min_size=1, max_size=6), st.data())
async def test_requests_do_not_depend_on_pieces(sent: list[Sent], data: st.DataObject) -> None:
    """Any requests in any pieces are read as sent."""
    stream = b"".join(one.data for one in sent)
    cuts = sorted(data.draw(st.sets(st.integers(1, len(stream)), max_size=8)))
    blocks = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    async with listening() as front, connect(front) as wire:
        sending = asyncio.create_task(wire.send(*blocks))
        for one in sent:
            assert (await wire.read_response()).body == one.echo
        await sending
        assert front.refused_errors == []


FRAGMENTS = st.sampled_from(
    [
        *(b"GET / HTTP/1.1\r\n", b"POST /x HTTP/1.0\r\n", b"PRI * HTTP/2.0\r\n", b"\r\n", b"\n"),
        *(b"Host: x\r\n", b"Content-Length: 5\r\n", b"Content-Length: -1\r\n", b"0\r\n\r\n"),
        *(b"Transfer-Encoding: chunked\r\n", b"Connection: close\r\n", b"Upgrade: h2c\r\n"),
        *(b"Connection: Upgrade\r\n", b"5\r\nhello\r\n", b"\x16\x03\x01", b"\0", b"\xff" * 20),
        *(b"Expect: 100-continue\r\n", b" ", b":", b"CONNECT a:1 HTTP/1.1\r\n", b"x" * 9000),
    ]
)


@QUICK
@given(st.lists(FRAGMENTS | st.binary(max_size=20), max_size=30))
async def test_arbitrary_bytes_neither_hang_nor_crash(fragments: list[bytes]) -> None:
    """Every connection ends, and the next caller is served."""
    limits = CallerLimits(header_timeout=0.05, keepalive_timeout=0.05, half_close_timeout=0.05)
    async with listening(limits=limits) as front:
        async with connect(front) as wire:
            try:
                await wire.send(b"".join(fragments))
                wire.end_sending()
                await wire.read_to_end()
            except OSError:
                pass  # truncated
        async with connect(front) as wire:
            response = await wire.ask(b"GET /well HTTP/1.1\r\nHost: x\r\n\r\n")
            assert response.body == b"/well"
