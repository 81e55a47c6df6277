"""A simple proxy of Starlette and httpx, under uvicorn with httptools and uvloop.

Configured by the environment: PORT, UPSTREAM, and AUTHORITY for an upstream with TLS.
"""

import asyncio
import os
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

HOP_BY_HOP = {b"connection", b"keep-alive", b"transfer-encoding", b"te", b"upgrade", b"host"}
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]


class Tokens:
    """The token, fetched again after nine tenths of its lifetime."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client
        self._lock = asyncio.Lock()
        self._token = b""
        self._until = 0.0

    async def get(self) -> bytes:
        """Return it."""
        async with self._lock:
            if time.monotonic() >= self._until:
                form = {"grant_type": "client_credentials", "client_id": "b", "client_secret": "b"}
                answer = await self._client.post("/oauth2/v1/token", data=form)
                document = answer.json()
                self._token = document["access_token"].encode("ascii")
                self._until = time.monotonic() + 0.9 * float(document["expires_in"])
            return self._token


async def forward(request: Request) -> Response:
    """Forward one request."""
    client: httpx.AsyncClient = request.state.client
    headers = [(k, v) for k, v in request.headers.raw if k not in HOP_BY_HOP]
    headers = [(k, v) for k, v in headers if k != b"authorization"]
    headers.append((b"authorization", b"Bearer " + await request.state.tokens.get()))
    has_body = "content-length" in request.headers or "transfer-encoding" in request.headers
    outbound = client.build_request(
        request.method,
        httpx.URL(path=request.url.path, query=request.url.query.encode("ascii")),
        headers=headers,
        content=request.stream() if has_body else None,
    )
    answer = await client.send(outbound, stream=True)
    response = StreamingResponse(
        answer.aiter_raw(), answer.status_code, background=BackgroundTask(answer.aclose)
    )
    response.raw_headers = [
        (k.lower(), v) for k, v in answer.headers.raw if k.lower() not in HOP_BY_HOP
    ]
    return response


@asynccontextmanager
async def with_client(_app: Starlette) -> AsyncIterator[dict[str, object]]:
    """Hold the client while the application runs."""
    authority = os.environ["AUTHORITY"]
    tls = ssl.create_default_context(cafile=authority) if authority else True
    async with httpx.AsyncClient(base_url=os.environ["UPSTREAM"], verify=tls) as client:
        yield {"client": client, "tokens": Tokens(client)}


def main() -> None:
    """Serve until the process is ended."""
    app = Starlette(routes=[Route("/{path:path}", forward, methods=METHODS)], lifespan=with_client)
    port = int(os.environ["PORT"])
    uvicorn.run(app, host="127.0.0.1", port=port, access_log=False, log_level="warning")


if __name__ == "__main__":
    main()
