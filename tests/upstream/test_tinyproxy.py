"""A real outbound proxy, and the authentication schemes that one may offer."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from proxy.errors import UpstreamError, kinds
from proxy.upstream.dialer import Dialer, UpstreamOrigin
from proxy.upstream.tunnel import OutboundProxy, offered_schemes
from proxy.upstream.upstream_settings import UpstreamSettings
from tests.support import needs
from tests.support.dialing import dial
from tests.support.outbound_proxies import free_port, listening_program
from tests.support.upstream_server import ScriptedUpstream, respond_to_all

TINYPROXY = """
Port {port}
Listen 127.0.0.1
Timeout 60
LogFile "{folder}/log"
PidFile "{folder}/pid"
BasicAuth me word
"""


@asynccontextmanager
async def tinyproxy(folder: Path) -> AsyncIterator[int]:
    """Run tinyproxy with Basic authentication; return its port."""
    program = needs.program("tinyproxy")
    port = free_port()
    configuration = folder / "tinyproxy.conf"
    configuration.write_text(TINYPROXY.format(port=port, folder=folder))
    async with listening_program(port, program, "-d", "-c", str(configuration)):
        yield port


async def test_tinyproxy(tmp_path: Path) -> None:
    """With its login the tunnel is opened, without one the error says so."""
    async with tinyproxy(tmp_path) as port, ScriptedUpstream(respond_to_all(b"yes")) as upstream:

        def dialer(user: str, password: str) -> Dialer:
            proxy = OutboundProxy("127.0.0.1", port, user, password)
            origin = UpstreamOrigin("127.0.0.1", upstream.port, None, proxy)
            return Dialer(origin, UpstreamSettings())

        reader, writer = await dial(dialer("me", "word"))
        writer.write(b"GET / HTTP/1.1\r\nHost: bank\r\n\r\n")
        assert b"200 OK" in await reader.readuntil(b"yes")
        writer.close()
        with pytest.raises(UpstreamError) as caught:
            await dial(dialer("", ""))
        assert caught.value.reason is kinds.UPSTREAM_PROXY_LOGIN


@pytest.mark.parametrize(
    ("lines", "schemes"),
    [
        ([], []),
        (["Basic realm=x"], ["Basic"]),
        (["Negotiate", "NTLM", 'Basic realm="a, b c"'], ["Negotiate", "NTLM", "Basic"]),
        (['Digest realm="x y", qop="auth,auth-int", nonce=abc, NTLM'], ["Digest", "NTLM"]),
        (["Negotiate YIIC=="], ["Negotiate"]),
        (["@", '"', "é"], []),
        ([f"Scheme{number}" for number in range(20)], [f"Scheme{number}" for number in range(8)]),
    ],
)
def test_offered_schemes(lines: list[str], schemes: list[str]) -> None:
    """The names in Proxy-Authenticate (RFC 9110 section 11.7.1), not those of parameters."""
    fields = "".join(f"\r\nProxy-Authenticate: {line}" for line in lines)
    head = f"HTTP/1.1 407 No{fields}\r\nServer: NTLM, x\r\n\r\nProxy-Authenticate: Evil"
    assert offered_schemes(head.encode("latin-1")) == schemes
