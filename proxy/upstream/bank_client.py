"""The proxy's own calls to the bank (tokens, revocation, business users), over aiohttp's client.

These calls are few and small, so each opens a new connection and nothing left over from an earlier
response can affect it. Callers' requests use ``upstream/pool.py`` instead.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from aiohttp.client_proto import ResponseHandler

from proxy import __version__
from proxy.errors import ProxyError, TokenError, kinds
from proxy.upstream.dialer import Dialer
from proxy.upstream.failures import call_error

USER_AGENT = f"candescent-proxy/{__version__}"

MAX_CALLS = 512
"""Concurrent calls. Many, so that slow calls for one institution do not delay the others."""

MAX_RESPONSE = 262_144
"""Bytes. A token response has some hundred, a business user's some thousand."""


MAX_FIELD = 65_536
"""Bytes of one response header; gateways send long policies and traces in headers."""

MAX_FIELDS = 500
"""Headers of a response. With ``MAX_FIELD`` this bounds a head to 32 MiB of memory."""


@dataclass(frozen=True, slots=True)
class BankResponse:
    """A complete response. The last three are headers as received."""

    status: int
    body: bytes = field(repr=False)
    retry_after: str | None = None
    date: str | None = None
    age: str | None = None


class BankClient:
    """Calls paths below ``base_url``. ``timeout`` is in seconds and covers a whole call."""

    def __init__(self, base_url: str, dialer: Dialer, *, timeout: float) -> None:
        self.base_url = base_url
        self._dialer = dialer
        self._timeout = aiohttp.ClientTimeout(total=timeout)
        self._session: aiohttp.ClientSession | None = None

    async def call(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes = b""
    ) -> BankResponse:
        """Make a call. Raises ``TokenError`` when no complete response is received."""
        try:
            return await self._call(method, path, headers, body)
        except TokenError:
            raise
        except (OSError, ValueError, ProxyError, aiohttp.ClientError) as error:
            failure = call_error(error)
        # Outside the handler, so that it has no cause: aiohttp's errors hold request headers.
        try:
            raise failure
        finally:
            # A compiled coroutine further up still has aiohttp's error as its context.
            failure.__context__ = None

    async def _call(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes
    ) -> BankResponse:
        async with self._client().request(
            method,
            self.base_url + path,
            data=body or None,
            headers=headers,
            allow_redirects=False,
        ) as response:
            body_bytes = await _read_bounded(response.content)
            return BankResponse(
                response.status,
                body_bytes,
                response.headers.get("Retry-After"),
                response.headers.get("Date"),
                response.headers.get("Age"),
            )

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()

    def _client(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=_Connector(self._dialer),
                timeout=self._timeout,
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"User-Agent": USER_AGENT},
                trust_env=False,
                max_line_size=MAX_FIELD,
                max_field_size=MAX_FIELD,
                max_headers=MAX_FIELDS,
            )
        return self._session


class _Connector(aiohttp.BaseConnector):
    """Gives aiohttp connections as requests have them: to the origin, whatever the URL says."""

    def __init__(self, dialer: Dialer) -> None:
        super().__init__(force_close=True, limit=MAX_CALLS)
        self._dialer = dialer

    async def _create_connection(
        self,
        req: aiohttp.ClientRequest,
        traces: list[Any],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 - aiohttp's
    ) -> ResponseHandler:
        """Called by aiohttp for a new connection; its own connectors define this method too."""
        return await self._dialer.connect(self._factory)


async def _read_bounded(stream: aiohttp.StreamReader) -> bytes:
    body = b""
    while block := await stream.readany():
        body += block
        if len(body) > MAX_RESPONSE:
            raise TokenError(
                kinds.TOKEN_MALFORMED, f"The bank's response exceeds {MAX_RESPONSE} bytes."
            )
    return body
