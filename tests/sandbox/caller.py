"""A client of the sandbox bank, over real sockets."""

import asyncio
import json
import uuid
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from proxy.sandbox import Bank, Sandbox
from tests.support.running import DEADLINE

CREDENTIALS = ("sandbox-client", "sandbox-secret")
USER_AGENT = "TestBench/1.0"
Headers = dict[str, str]


@dataclass
class Clock:
    """A clock that tests set."""

    now: float = 1_000_000.0

    def __call__(self) -> float:
        """Return the time in Unix seconds."""
        return self.now


@dataclass
class ReceivedResponse:
    """A response of the bank."""

    status: int
    headers: CIMultiDictProxy[str] = field(repr=False)
    body: bytes

    def json(self) -> Any:
        """Return the parsed body."""
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The error code, in any body format."""
        text = self.body.decode()
        if text.startswith("<"):
            return text.partition("<errorCode>")[2].partition("<")[0]
        value = self.json()
        return str(value["fault"]["detail"]["errorcode"] if "fault" in value else value["code"])


class SandboxCaller:
    """A client of one sandbox; requests are valid by default."""

    def __init__(self, sandbox: Sandbox, session: aiohttp.ClientSession) -> None:
        """Use a sandbox through a session."""
        self.sandbox = sandbox
        self.session = session

    @property
    def bank(self) -> Bank:
        """The state of the bank."""
        return self.sandbox.bank

    async def send(
        self, method: str, path: str, headers: Headers | CIMultiDict[str], body: Any = None
    ) -> ReceivedResponse:
        """Send one request exactly as given."""
        url = URL(self.sandbox.url + path, encoded=True)
        async with self.session.request(
            method, url, headers=headers, data=body, allow_redirects=False
        ) as response:
            return ReceivedResponse(response.status, response.headers, await response.read())

    async def token(
        self,
        institution: str = "00016",
        *,
        headers: Headers | None = None,
        credentials: tuple[str, str] = CREDENTIALS,
        form: Headers | None = None,
        **fields: str,
    ) -> ReceivedResponse:
        """Request a V2 token; a header with the value ``""`` is left out."""
        asked = {
            "Authorization": aiohttp.encode_basic_auth(*credentials),
            "transactionId": str(uuid.uuid4()),
            "institutionId": institution,
        } | (headers or {})
        form = {"grant_type": "client_credentials"} | (form or {}) | fields
        return await self.send("POST", "/oauth2/v1/token", _kept(asked), form)

    async def v1_token(
        self,
        institution: str = "00016",
        *,
        headers: Headers | None = None,
        credentials: tuple[str, str] = CREDENTIALS,
        form: Headers | None = None,
        **fields: str,
    ) -> ReceivedResponse:
        """Request a V1 token; a header with the value ``""`` is left out."""
        asked = {
            "Authorization": aiohttp.encode_basic_auth(*credentials),
            "di_tid": str(uuid.uuid4()),
            "di_fiid": institution,
            "user-agent": USER_AGENT,
        } | (headers or {})
        form = {"grant_type": "client_credentials"} | (form or {}) | fields
        return await self.send("POST", "/v1/oauth/token", _kept(asked), form)

    async def revoke(self, token: str, **headers: str) -> ReceivedResponse:
        """Revoke a token."""
        asked = {
            "Authorization": aiohttp.encode_basic_auth(*CREDENTIALS),
            "transactionId": str(uuid.uuid4()),
        } | headers
        return await self.send("DELETE", "/oauth2/v1/revoke", asked, {"token": token})

    async def bearer(self, institution: str = "00016", *, v1: bool = False) -> str:
        """Return a new access token as text."""
        if not v1:
            return str((await self.token(institution)).json()["access_token"])
        text = (await self.v1_token(institution)).body.decode()
        return text.partition("<access_token>")[2].partition("<")[0]

    async def call(
        self,
        path: str,
        method: str = "GET",
        *,
        bearer: str | None = None,
        headers: Headers | None = None,
        body: Any = None,
    ) -> ReceivedResponse:
        """Call a resource, by default with a new token of the right kind."""
        v1 = "/fis/" in path
        institution = path.partition("/fis/")[2].partition("/")[0] if v1 else "00016"
        asked = {"Authorization": f"Bearer {bearer or await self.bearer(institution, v1=v1)}"}
        asked |= {"di_tid" if v1 else "transactionId": str(uuid.uuid4())}
        return await self.send(method, path, _kept(asked | (headers or {})), body)

    async def twice(self, path: str, *headers: tuple[str, str]) -> ReceivedResponse:
        """Send a GET request with headers exactly as given, repeated names included."""
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers)
        target = URL(self.sandbox.url).raw_path.rstrip("/") + path
        head = f"GET {target} HTTP/1.1\r\nHost: bank\r\nConnection: close\r\n{lines}\r\n"
        start, _, body = (await self.raw(head.encode())).partition(b"\r\n\r\n")
        return ReceivedResponse(int(start.split()[1]), CIMultiDictProxy(CIMultiDict()), body)

    async def control(self, path: str, method: str = "GET", body: Any = None) -> ReceivedResponse:
        """Call ``/_sandbox``."""
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        return await self.send(method, "/_sandbox" + path, {}, data)

    async def raw(self, data: bytes, until: bytes | None = None) -> bytes:
        """Send bytes on a new connection; read until these bytes occur, or to the end."""
        url = URL(self.sandbox.url)
        reader, writer = await asyncio.open_connection(url.host, url.port)
        writer.write(data)
        received = b""
        with suppress(ConnectionError):
            async with asyncio.timeout(DEADLINE):
                while until is None or until not in received:
                    if not (chunk := await reader.read(65536)):
                        break
                    received += chunk
        writer.close()
        return received


def _kept(headers: Headers) -> Headers:
    return {name: value for name, value in headers.items() if value}
