"""A DNS server on UDP port 53 (RFC 1035) that answers late, fails or is silent as set."""

import asyncio
import socket
from dataclasses import dataclass, field
from typing import Self

_NAME_ERROR, _SERVER_FAILURE = 3, 2


@dataclass
class DnsServer(asyncio.DatagramProtocol):
    """Answers questions for IPv4 addresses of the names in ``records``, in their order.

    ``delay`` is in seconds; ``drops`` questions get no answer; with ``fails`` all get
    a server failure. ``questions`` are the names that were asked for, by A or AAAA.
    """

    records: dict[str, list[str]]
    delay: float = 0.0
    drops: int = 0
    fails: bool = False
    questions: list[tuple[str, str]] = field(default_factory=list)

    async def __aenter__(self) -> Self:
        """Listen on 127.0.0.1."""
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(
            lambda: self, local_addr=("127.0.0.1", 53)
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the port."""
        self._transport.close()

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """Answer one question, if at all."""
        name, kind, end = _question(data)
        self.questions.append((name, kind))
        if self.drops:
            self.drops -= 1
            return
        response = self._response(data, name, kind, end)
        asyncio.get_running_loop().call_later(self.delay, self._transport.sendto, response, addr)

    def _response(self, data: bytes, name: str, kind: str, end: int) -> bytes:
        found = self.records.get(name)
        addresses = (found or []) if kind == "A" else []
        code = _SERVER_FAILURE if self.fails else _NAME_ERROR if found is None else 0
        if code:
            addresses = []
        flags = (0x8180 | code).to_bytes(2, "big")
        counts = bytes([0, 1, 0, len(addresses), 0, 0, 0, 0])
        records = b"".join(
            b"\xc0\x0c\0\1\0\1\0\0\0\0\0\4" + socket.inet_aton(address) for address in addresses
        )
        return data[:2] + flags + counts + data[12:end] + records


def _question(data: bytes) -> tuple[str, str, int]:
    """Return name and kind of a question, and where it ends."""
    at, labels = 12, []
    while data[at]:
        labels.append(data[at + 1 : at + 1 + data[at]].decode().lower())
        at += 1 + data[at]
    kind = {1: "A", 28: "AAAA"}.get(int.from_bytes(data[at + 1 : at + 3], "big"), "other")
    return ".".join(labels), kind, at + 5
