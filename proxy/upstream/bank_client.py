"""The proxy's own calls to the bank (tokens, revocation, business users), over aiohttp's client.

Rare, small and short, so each opens a connection of its own, and none can be spoiled by what an
earlier one left behind. The requests of callers do not go this way.
"""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from proxy import __version__
from proxy.errors import TokenError, kinds
from proxy.upstream.failures import call_error
from proxy.upstream.tunnel import OutboundProxy

USER_AGENT = f"candescent-proxy/{__version__}"

MAX_CALLS = 512
"""At once; many, for an institution that hangs must not keep another one waiting."""

MAX_RESPONSE = 262_144
"""Bytes; a token answer has some hundred, a business user's a few thousand."""


MAX_FIELD = 65_536
"""Bytes of a header of a response; gateways put whole policies and traces there."""

MAX_FIELDS = 500
"""Headers of a response. Both together bound the memory that a head can take to 32 MiB."""


@dataclass(frozen=True, slots=True)
class BankResponse:
    """An answer, its body whole. ``retry_after`` and ``date`` are the headers as they came."""

    status: int
    body: bytes = field(repr=False)
    retry_after: str | None = None
    date: str | None = None


class BankClient:
    """Calls paths behind ``base_url``. ``timeout`` is in seconds and covers a whole call."""

    def __init__(
        self,
        base_url: str,
        *,
        timeout: float,
        tls: ssl.SSLContext | None = None,
        proxy: OutboundProxy | None = None,
    ) -> None:
        self._base_url = base_url
        self._timeout = aiohttp.ClientTimeout(total=timeout)
        self._tls = tls
        self._proxy = proxy
        self._session: aiohttp.ClientSession | None = None

    async def call(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes = b""
    ) -> BankResponse:
        """Make a call. Raises ``TokenError`` when no whole answer comes back."""
        try:
            return await self._call(method, path, headers, body)
        except TokenError:
            raise
        except (OSError, ValueError, aiohttp.ClientError) as error:
            failure = call_error(error)
        # Out here, so that it drags no cause along: aiohttp's errors hold the request's headers.
        try:
            raise failure
        finally:
            # A compiled coroutine above this one still holds what it was woken with.
            failure.__context__ = None

    async def _call(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes
    ) -> BankResponse:
        async with self._client().request(
            method,
            self._base_url + path,
            data=body or None,
            headers=headers,
            allow_redirects=False,
            **self._connector(),
        ) as response:
            body_bytes = await _read_bounded(response.content)
            return BankResponse(
                response.status,
                body_bytes,
                response.headers.get("Retry-After"),
                response.headers.get("Date"),
            )

    def _connector(self) -> dict[str, Any]:
        proxy = self._proxy
        if proxy is None:
            return {}
        headers = {"Proxy-Authorization": proxy.authorization} if proxy.authorization else {}
        return {"proxy": f"http://{proxy.host}:{proxy.port}", "proxy_headers": headers}

    async def close(self) -> None:
        """Let the connections go."""
        if self._session is not None:
            await self._session.close()

    def _client(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    ssl=self._tls or True, force_close=True, limit=MAX_CALLS
                ),
                timeout=self._timeout,
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"User-Agent": USER_AGENT},
                trust_env=False,
                max_line_size=MAX_FIELD,
                max_field_size=MAX_FIELD,
                max_headers=MAX_FIELDS,
            )
        return self._session


async def _read_bounded(stream: aiohttp.StreamReader) -> bytes:
    body = b""
    while block := await stream.readany():
        body += block
        if len(body) > MAX_RESPONSE:
            raise TokenError(
                kinds.TOKEN_MALFORMED, f"The bank's answer exceeds {MAX_RESPONSE} bytes."
            )
    return body
