"""The same bytes to this proxy, nginx and Envoy: what each of them lets through to the upstream.

``make fuzz ARGS='--differential'`` sends the payloads below and random changes of them, and lists
what differs from the others. The proxy must never let more requests through than were sent, nor
one that no reading of the bytes has; ``KNOWN`` says why other differences are right.
"""

import asyncio
import contextlib
import random
import re
import shutil
import socket
import tempfile
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench.machine import TOOLS as BENCH_TOOLS
from proxy.server.address import Address
from tests.support.needs import find
from tests.support.running import running, until

POST = b"POST /p HTTP/1.1\r\nHost: localhost\r\n"
GET = b"GET /g HTTP/1.1\r\nHost: localhost\r\n"
INNER = b"GET /inner HTTP/1.1\r\nHost: localhost\r\n\r\n"

PAYLOADS: Mapping[str, bytes] = {
    "plain": GET + b"\r\n",
    "two": GET + b"\r\n" + GET + b"\r\n",
    "body": POST + b"Content-Length: 3\r\n\r\nabc",
    "chunks": POST + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    "length and chunks": POST
    + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    + INNER,
    "two lengths": POST + b"Content-Length: 0\r\nContent-Length: %d\r\n\r\n" % len(INNER) + INNER,
    "signed length": POST + b"Content-Length: +%d\r\n\r\n" % len(INNER) + INNER,
    "length in a list": POST + b"Content-Length: 3, 3\r\n\r\nabc",
    "space before a colon": POST + b"Content-Length : %d\r\n\r\n" % len(INNER) + INNER,
    "xchunked": POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + INNER,
    "chunked twice": POST + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n" + INNER,
    "chunk extension": POST + b"Transfer-Encoding: chunked\r\n\r\n3;a=b\r\nabc\r\n0\r\n\r\n",
    "chunk with bare LF": POST + b"Transfer-Encoding: chunked\r\n\r\n3\nabc\n0\n\n" + INNER,
    "hexadecimal chunk": POST + b"Transfer-Encoding: chunked\r\n\r\n0x3\r\nabc\r\n0\r\n\r\n",
    "bare LF": b"GET /g HTTP/1.1\nHost: localhost\n\n",
    "fold": GET + b"X-A: b\r\n c\r\n\r\n",
    "NUL": GET + b"X-A: b\0c\r\n\r\n",
    "no host": b"GET /g HTTP/1.1\r\n\r\n",
    "no host in 1.0": b"GET /g HTTP/1.0\r\n\r\n",
    "two hosts": GET + b"Host: other\r\n\r\n",
    "fragment": b"GET /g#x HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "climbs": b"GET /../g HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "dots": b"GET /a/../g HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "encoded slash": b"GET /a%2fb HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "version 1.2": b"GET /g HTTP/1.2\r\nHost: localhost\r\n\r\n",
    "malformed version": b"GET /g HTTP/ 1.1\r\nHost: localhost\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "TRACE": b"TRACE /g HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "upgrade": GET + b"Connection: upgrade\r\nUpgrade: websocket\r\n\r\n" + INNER,
}

KNOWN: Mapping[str, str] = {
    "bare LF": "refused: RFC 9112 section 2.2 allows to accept it, but smuggling begins there",
    "chunk with bare LF": "refused, because only CRLF ends a line of the framing",
    "fold": "refused: RFC 9112 section 5.2 asks for 400 or a space, which Envoy puts in",
    "no host in 1.0": "forwarded: 1.0 needs none; Envoy speaks 1.0 only when told to",
    "two hosts": "refused: RFC 9112 section 3.2; Envoy joins them",
    "fragment": "refused: RFC 9112 section 3.2; nginx forwards it",
    "climbs": "refused: it leads above the base path; Envoy forwards it",
    "version 1.2": "505: RFC 9110 section 2.5 allows to read it as 1.1, as nginx does",
    "TRACE": "405: the API has no use for it; Envoy forwards it",
    "upgrade": "501 for a WebSocket; nginx forwards the request without the upgrade",
}
"""Why the proxy differs from nginx or Envoy, by payload."""

Request = tuple[str, str, bytes]
"""Method, target and body, as they reach the upstream."""


@dataclass
class Recorder:
    """An upstream that records the whole requests of each connection, and answers 200."""

    port: int = 0
    requests: list[Request] = field(default_factory=list)
    serving: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Read requests until the connection ends."""
        self.serving += 1
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                method, target, _ = head.split(b"\r\n")[0].decode("latin-1").split(" ", 2)
                body = await self._body(reader, head.lower())
                self.requests.append((method, target, body))
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        except (OSError, ValueError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the proxy has closed the connection, or the comparison is over
        finally:
            self.serving -= 1
            writer.close()

    @staticmethod
    async def _body(reader: asyncio.StreamReader, head: bytes) -> bytes:
        if b"\r\ntransfer-encoding: chunked" in head:
            body = b""
            while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
                body += (await reader.readexactly(size + 2))[:-2]
            await reader.readexactly(2)
            return body
        for line in head.split(b"\r\n"):
            if line.startswith(b"content-length: "):
                return await reader.readexactly(int(line.partition(b": ")[2]))
        return b""


@dataclass(frozen=True)
class Outcome:
    """What came of a payload: statuses of the responses, and the requests at the upstream."""

    statuses: tuple[int, ...]
    requests: tuple[Request, ...]


@dataclass
class Peer:
    """A proxy under test with an upstream of its own."""

    name: str
    address: Address
    recorder: Recorder

    async def outcome(self, payload: bytes) -> Outcome:
        """Send a payload on a connection of its own, and wait until nothing more comes of it."""
        self.recorder.requests.clear()
        reader, writer = await asyncio.open_connection(self.address.host, self.address.port)
        try:
            writer.write(payload)
            data = b""
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(0.4):
                    while block := await reader.read(65_536):
                        data += block
        finally:
            writer.transport.abort()
        statuses = re.findall(rb"HTTP/1\.1 ([0-9]{3}) ", data)
        return Outcome(tuple(map(int, statuses)), tuple(self.recorder.requests))


@asynccontextmanager
async def recorder() -> AsyncIterator[Recorder]:
    """Run a recording upstream."""
    recorder = Recorder()
    server = await asyncio.start_server(recorder.serve, "127.0.0.1", 0)
    recorder.port = server.sockets[0].getsockname()[1]
    try:
        yield recorder
    finally:
        server.close()


@asynccontextmanager
async def this_proxy() -> AsyncIterator[Peer]:
    """Run this proxy."""
    async with (
        recorder() as upstream,
        running(f"http://127.0.0.1:{upstream.port}", bearer_token="scripted") as app,
    ):
        yield Peer("proxy", app.data_address, upstream)


NGINX = """\
daemon off; master_process off; pid {folder}/pid; error_log /dev/null;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path {folder}/in; proxy_temp_path {folder}/out;
    fastcgi_temp_path {folder}/1; uwsgi_temp_path {folder}/2; scgi_temp_path {folder}/3;
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://127.0.0.1:{upstream};
            proxy_http_version 1.1;
            proxy_request_buffering off;
            proxy_set_header Connection "";
        }}
    }}
}}
"""

ENVOY = """\
static_resources:
  listeners:
  - address: {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": "{manager}"
          stat_prefix: fuzz
          codec_type: HTTP1
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes: [{{match: {{prefix: /}}, route: {{cluster: up}}}}]
          http_filters:
          - name: envoy.filters.http.router
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
  clusters:
  - name: up
    load_assignment:
      cluster_name: up
      endpoints:
      - lb_endpoints:
        - endpoint: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {upstream}}}}}}}
"""


MANAGER = (
    "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3."
    "HttpConnectionManager"
)


@asynccontextmanager
async def other(name: str, program: Path, template: str, *options: str) -> AsyncIterator[Peer]:
    """Run nginx or Envoy with a configuration."""
    with tempfile.TemporaryDirectory() as folder, socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = Address("127.0.0.1", free.getsockname()[1])
        free.close()
        async with recorder() as upstream:
            suffix = "yaml" if name == "envoy" else "conf"
            file = Path(folder, f"{name}.{suffix}")
            values = {"folder": folder, "port": address.port, "upstream": upstream.port}
            await asyncio.to_thread(file.write_text, template.format(manager=MANAGER, **values))
            process = await asyncio.create_subprocess_exec(
                program, *options, file, stderr=asyncio.subprocess.DEVNULL
            )
            try:
                await until(lambda: _listens(address) or process.returncode is not None)
                yield Peer(name, address, upstream)
            finally:
                process.terminate()
                await process.wait()


def _listens(address: Address) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((address.host, address.port)) == 0


@asynccontextmanager
async def peers() -> AsyncIterator[list[Peer]]:
    """Run this proxy, and of the others those that are installed."""
    async with AsyncExitStack() as stack:
        found = [await stack.enter_async_context(this_proxy())]
        if (nginx := find("nginx")) is not None:
            started = other("nginx", Path(nginx), NGINX, "-c")
            found.append(await stack.enter_async_context(started))
        envoy = shutil.which("envoy") or shutil.which("envoy", path=str(BENCH_TOOLS))
        if envoy is not None:
            started = other("envoy", Path(envoy), ENVOY, "--log-level", "off", "--config-path")
            found.append(await stack.enter_async_context(started))
        yield found


def smuggles(payload: bytes, outcome: Outcome) -> bool:
    """Whether more requests have come through than a strict reader finds, or one out of a body."""
    sent = sum(payload.count(method) for method in (b"GET /", b"POST /", b"TRACE /", b"PRI "))
    inner = [request for request in outcome.requests if request[1] == "/inner"]
    return len(outcome.requests) > sent or (bool(inner) and b"/inner" not in payload)


def mutations(count: int, seed: int) -> Iterable[tuple[str, bytes]]:
    """Yield random changes of the payloads: bytes dropped, repeated, replaced or inserted."""
    chance = random.Random(seed)  # noqa: S311 - not a secret
    names = list(PAYLOADS)
    for _ in range(count):
        name = chance.choice(names)
        data = bytearray(PAYLOADS[name])
        for _ in range(chance.randint(1, 3)):
            at = chance.randrange(len(data))
            data[at : at + chance.randint(0, 2)] = chance.choice(
                [b"", b" ", b"\n", b"\r", b"\t", b"\0", b",", b";", b"0", data[at : at + 8]]
            )
        yield f"{name}, changed", bytes(data)


async def compare(
    payloads: Iterable[tuple[str, bytes]], say: Callable[[str], None] = lambda _line: None
) -> list[str]:
    """Say how the peers differ; return what is not explained, and what this proxy smuggles."""
    findings = []
    async with peers() as running_peers:
        say(f"compared: {', '.join(peer.name for peer in running_peers)}")
        for name, payload in payloads:
            outcomes = {
                peer.name: outcome
                for peer, outcome in zip(
                    running_peers,
                    await asyncio.gather(*(peer.outcome(payload) for peer in running_peers)),
                    strict=True,
                )
            }
            ours = outcomes["proxy"]
            if smuggles(payload, ours):
                findings.append(f"{name}: smuggled {ours.requests} out of {payload!r}")
            if len({outcome.requests for outcome in outcomes.values()}) > 1:
                why = KNOWN.get(name.partition(",")[0], "")
                say(f"{name}: {why or 'NOT EXPLAINED'}")
                for peer, outcome in outcomes.items():
                    say(f"    {peer:6} {outcome.statuses} {outcome.requests}")
                if not why and name in PAYLOADS:
                    findings.append(f"{name}: {outcomes}")
    return findings


def main(changed: int, say: Callable[[str], None]) -> int:
    """Compare the payloads and ``changed`` changes of them; return 1 if something is found."""
    seed = random.SystemRandom().randrange(2**32)
    findings = asyncio.run(compare([*PAYLOADS.items(), *mutations(changed, seed)], say))
    say(f"{len(PAYLOADS) + changed} payloads, seed {seed}, {len(findings)} findings")
    for finding in findings:
        say(finding)
    return bool(findings)
