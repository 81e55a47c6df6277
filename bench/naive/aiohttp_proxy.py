"""A simple aiohttp proxy: a web application, a client session, and a cached token.

It runs on uvloop. Configured by the environment: PORT, UPSTREAM, and
AUTHORITY for an upstream with TLS.
"""

import asyncio
import os
import ssl
import time
from collections.abc import AsyncIterator

import uvloop
from aiohttp import ClientSession, TCPConnector, web

UPSTREAM = os.environ["UPSTREAM"]
HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "te", "upgrade", "host"}


class Tokens:
    """The token, fetched again after nine tenths of its lifetime."""

    def __init__(self, session: ClientSession) -> None:
        self._session = session
        self._lock = asyncio.Lock()
        self._token = ""
        self._until = 0.0

    async def get(self) -> str:
        """Return it."""
        async with self._lock:
            if time.monotonic() >= self._until:
                form = {"grant_type": "client_credentials", "client_id": "b", "client_secret": "b"}
                url = UPSTREAM + "/oauth2/v1/token"
                async with self._session.post(url, data=form) as answer:
                    document = await answer.json()
                self._token = document["access_token"]
                self._until = time.monotonic() + 0.9 * float(document["expires_in"])
            return self._token


SESSION = web.AppKey("SESSION", ClientSession)
TOKENS = web.AppKey("TOKENS", Tokens)


async def forward(request: web.Request) -> web.StreamResponse:
    """Forward one request."""
    headers = {k: v for k, v in request.headers.items() if k.lower() not in HOP_BY_HOP}
    headers["Authorization"] = "Bearer " + await request.app[TOKENS].get()
    async with request.app[SESSION].request(
        request.method,
        UPSTREAM + request.path_qs,
        headers=headers,
        data=request.content if request.body_exists else None,
        allow_redirects=False,
    ) as answer:
        kept = {k: v for k, v in answer.headers.items() if k.lower() not in HOP_BY_HOP}
        response = web.StreamResponse(status=answer.status, headers=kept)
        await response.prepare(request)
        async for block in answer.content.iter_any():
            await response.write(block)
        await response.write_eof()
        return response


async def with_session(app: web.Application) -> AsyncIterator[None]:
    """Hold the client session while the application runs."""
    authority = os.environ["AUTHORITY"]
    tls = ssl.create_default_context(cafile=authority) if authority else True
    connector = TCPConnector(ssl=tls)
    async with ClientSession(connector=connector, auto_decompress=False) as session:
        app[SESSION], app[TOKENS] = session, Tokens(session)
        yield


def main() -> None:
    """Serve until the process is ended."""
    app = web.Application()
    app.cleanup_ctx.append(with_session)
    app.router.add_route("*", "/{path:.*}", forward)
    port = int(os.environ["PORT"])
    web.run_app(
        app, host="127.0.0.1", port=port, access_log=None, print=None, loop=uvloop.new_event_loop()
    )


if __name__ == "__main__":
    main()
