"""Counts the function calls and memory blocks of one forwarded request.

A proxy runs in its own process (``counting``) between a client and an upstream on threads
here, over real sockets, one request at a time on open connections. A
count varies by a few hundredths of a call between runs and machines.
"""

import json
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from bench.machine import ROOT

REQUESTS, WARM_UP, TIMES = 300, 300, 3

Counts = Mapping[str, float]
"""Kind of count to its number per request."""

_HEAD = (
    b"%b /v1/accounts?hostUserId=7 HTTP/1.1\r\nHost: localhost\r\nAccept: application/json\r\n"
    b"User-Agent: bench\r\n"
)
_GET = _HEAD % b"GET" + b"\r\n"
_POST = (
    _HEAD % b"POST" + b"Content-Type: application/json\r\nContent-Length: 700\r\n\r\n" + b"x" * 700
)

QUIET = {"access": "sampled", "sample": "0", "level": "warning"}
"""The default access log, but without a random sample."""

KINDS: Mapping[str, tuple[bytes, dict[str, Any]]] = {
    "get": (_GET, {"log": QUIET}),
    "post": (_POST, {"log": QUIET}),
    "logged": (_GET, {"log": {"access": "on", "format": "json"}}),
}
"""Request and settings of each kind. Bodies have 700 bytes in both directions."""


def measure(kind: str) -> dict[str, float]:
    """Return the counts of one kind of request: the minimum of several, as noise only adds."""
    with counted(kind) as proxy:
        found = [proxy.count("calls") | proxy.count("blocks") for _ in range(TIMES)]
    return {name: min(counts[name] for counts in found) for name in found[0]}


class CountingProxy:
    """A counting proxy and the connection to it."""

    def __init__(self, process: "subprocess.Popen[str]", caller: socket.socket, request: bytes):
        self._process = process
        self._caller = caller
        self._request = request

    def ask(self, times: int) -> None:
        """Send requests, one after another."""
        for _ in range(times):
            self._caller.sendall(self._request)
            answer = b""
            while not answer.endswith(b'"}'):
                block = self._caller.recv(65_536)
                if not block:
                    raise ConnectionError(f"The proxy closed the connection after {answer!r}")
                answer += block
            if not answer.startswith(b"HTTP/1.1 200 "):
                raise ConnectionError(f"The proxy does not forward: {answer!r}")

    def count(self, what: str) -> dict[str, float]:
        """Return counts per request after a warm-up."""
        self.ask(WARM_UP)
        self._say(what)
        self.ask(REQUESTS)
        found = json.loads(self._say(""))
        return {name: number / REQUESTS for name, number in found.items()}

    def _say(self, line: str) -> str:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(line, file=self._process.stdin, flush=True)
        return self._process.stdout.readline()


@contextmanager
def counted(kind: str) -> Iterator[CountingProxy]:
    """Run a counting proxy in front of an upstream with one fixed response."""
    request, overrides = KINDS[kind]
    # Coverage of child processes would be counted too.
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("COVERAGE", "COV_"))}
    environment["PYTHONHASHSEED"] = "0"  # keeps the growth of dictionaries the same in each run
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=_serve, args=(listener,), daemon=True).start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with subprocess.Popen(
            [sys.executable, "-m", "bench.counting", url, json.dumps(overrides)],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        ) as process:
            assert process.stdout is not None
            port = int(process.stdout.readline())
            with socket.create_connection(("127.0.0.1", port), timeout=30) as caller:
                yield CountingProxy(process, caller, request)
            # Leaving the block closes the process's input, which ends it.


def _serve(listener: socket.socket) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        threading.Thread(target=_answer, args=(connection,), daemon=True).start()


def _answer(connection: socket.socket) -> None:
    """Send each response in one piece, so that the number of reads is constant."""
    small, token = b'{"accounts":"%b"}' % (b"x" * 685), b'{"access_token":"t","expires_in":3600}'
    with connection:
        while head := connection.recv(65_536):
            length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
            left = int(length[1]) - len(head.partition(b"\r\n\r\n")[2]) if length else 0
            while left > 0:
                left -= len(connection.recv(left))
            body = token + b" " if b"/oauth2/" in head else small
            line = b"HTTP/1.1 200 OK\r\nServer: bench\r\nContent-Type: application/json\r\n"
            connection.sendall(line + b"Content-Length: %d\r\n\r\n%b" % (len(body), body))
