"""The token source that asks the bank."""

import ssl
from collections.abc import Callable

import aiohttp

from proxy.errors import TokenError, TokenFailure
from proxy.tokens.grants import (
    Credentials,
    TokenRequest,
    client_credentials,
    read_answer,
    read_retry_after,
)
from proxy.tokens.token import Moment, Token, TokenKey

MAX_ANSWER = 65_536
"""Bytes; a token answer is some hundred. Anything longer is not read to its end."""


class BankEndpoint:
    """Gets tokens from ``{base_url}/oauth2/v1/token``, one HTTP call for each.

    A token call is rare and its price does not matter, so each opens its own connection and
    none can be spoiled by what an earlier one left behind. ``timeout`` is in seconds and covers
    the whole call.
    """

    def __init__(
        self,
        base_url: str,
        credentials: Callable[[], Credentials],
        *,
        clock: Callable[[], Moment],
        new_id: Callable[[], str],
        user_agent: str,
        timeout: float,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._base_url = base_url
        self._credentials = credentials
        self._clock = clock
        self._new_id = new_id
        self._user_agent = user_agent
        self._timeout = aiohttp.ClientTimeout(total=timeout)
        self._tls = tls
        self._session: aiohttp.ClientSession | None = None

    async def token(self, key: TokenKey) -> Token:
        """Ask the bank. Raises ``TokenError`` with the reason when it gives none."""
        request = client_credentials(key, self._credentials(), self._new_id(), self._user_agent)
        asked = self._clock()
        issued = read_answer(*await self._post(request))
        return Token(key, issued.text, asked, issued.lifetime)

    async def close(self) -> None:
        """Let the connections go."""
        if self._session is not None:
            await self._session.close()

    async def _post(self, request: TokenRequest) -> tuple[int, bytes, float | None]:
        try:
            async with self._client().post(
                self._base_url + request.path,
                data=request.body,
                headers=request.headers,
                allow_redirects=False,
            ) as answer:
                body = await _read_bounded(answer.content)
                return answer.status, body, read_retry_after(answer.headers.get("Retry-After"))
        except TimeoutError as error:
            raise TokenError(
                TokenFailure.TIMEOUT, "The token endpoint did not answer in time."
            ) from error
        except (aiohttp.ClientPayloadError, aiohttp.ClientResponseError, ValueError) as error:
            raise TokenError(
                TokenFailure.MALFORMED, "The token endpoint's answer is not HTTP."
            ) from error
        except (aiohttp.ClientError, OSError) as error:
            raise TokenError(TokenFailure.UNREACHABLE, _unreachable(error)) from error

    def _client(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(ssl=self._tls or True, force_close=True),
                timeout=self._timeout,
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=False,
            )
        return self._session


async def _read_bounded(stream: aiohttp.StreamReader) -> bytes:
    body = b""
    while block := await stream.readany():
        body += block
        if len(body) > MAX_ANSWER:
            raise TokenError(
                TokenFailure.MALFORMED, f"The token endpoint's answer exceeds {MAX_ANSWER} bytes."
            )
    return body


def _unreachable(error: BaseException) -> str:
    if isinstance(error, aiohttp.ClientConnectorCertificateError | aiohttp.ClientSSLError):
        return "The token endpoint's certificate is not trusted; check upstream.ca_file."
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "The token endpoint's host name does not resolve; check base_url."
    return "The token endpoint cannot be reached; check base_url and the network."
