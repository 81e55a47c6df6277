"""Reads request bodies and writes response bodies without holding large ones in memory."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterable

from aiohttp import web

from proxy.sandbox.bank import Arrival
from proxy.sandbox.call import MAX_KEPT_BODY, SMALL, Call, Reply

_NOTHING = hashlib.sha256(b"").hexdigest()


async def read_body(request: web.BaseRequest, call: Call, arrival: Arrival | None = None) -> Call:
    """Return ``call`` with its body; answers ``Expect: 100-continue`` first."""
    if not request.can_read_body:
        if arrival is not None:
            arrival.complete, arrival.body_sha256 = True, _NOTHING
        return call.with_body(b"", 0, _NOTHING)
    if "100-continue" in (call.header("Expect") or "").lower():
        write_raw(request, b"HTTP/1.1 100 Continue\r\n\r\n")
    digest, length, buffer = hashlib.sha256(), 0, bytearray()
    try:
        async for chunk in request.content.iter_any():
            length += len(chunk)
            digest.update(chunk)
            if length <= SMALL:
                buffer += chunk
            if arrival is not None:
                arrival.body_length = length
    except RuntimeError as error:  # what aiohttp raises when the caller has left
        raise ConnectionResetError from error
    body = bytes(buffer) if length <= SMALL else b""
    if arrival is not None:
        arrival.body = body if length <= MAX_KEPT_BODY else b""
        arrival.body_sha256, arrival.complete = digest.hexdigest(), True
    return call.with_body(body, length, digest.hexdigest())


async def write_body(response: web.StreamResponse, reply: Reply, length: int | None) -> None:
    """Write a body of ``length`` bytes, or half of it when ``reply.ending`` is not ``clean``."""
    chunks: Iterable[bytes] = (reply.body,) if isinstance(reply.body, bytes) else reply.body()
    if reply.ending != "clean":
        chunks = _first_half(chunks, length)
    for chunk in chunks:
        if not reply.dribble:
            await response.write(chunk)
            continue
        for byte in chunk:
            await response.write(bytes((byte,)))
            await asyncio.sleep(reply.dribble)


def _first_half(chunks: Iterable[bytes], length: int | None) -> Iterable[bytes]:
    left = (length or 131072) // 2
    for chunk in chunks:
        if left <= 0:
            return
        yield chunk[:left]
        left -= len(chunk)


def write_raw(request: web.BaseRequest, data: bytes) -> None:
    """Write bytes to the socket unchanged."""
    if request.transport is not None:
        request.transport.write(data)
