"""The outbound proxy of many companies, Squid: its logins, and how it says what is wrong."""

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from proxy.errors import UpstreamError, UpstreamFailure, kinds
from proxy.upstream.dialer import Dialer, UpstreamOrigin
from proxy.upstream.tunnel import OutboundProxy
from proxy.upstream.upstream_settings import UpstreamSettings
from tests.support import needs
from tests.support.dialing import dial
from tests.support.outbound_proxies import free_port, listening_program
from tests.support.upstream_server import ScriptedUpstream, respond_to_all

SQUID = """
http_port 127.0.0.1:{port}
pid_filename none
visible_hostname squid.test
access_log none
cache_log /dev/null
cache deny all
netdb_filename none
shutdown_lifetime 0 seconds
auth_param {scheme} program {helper}
auth_param {scheme} children 1
acl known proxy_auth REQUIRED
acl closed port 9
http_access deny closed
http_access {access}
http_access deny all
"""

HELPER = """#!/bin/sh
while read -r line; do
    [ "$line" = "me word" ] && echo OK || echo {no}
done
"""


def configure(folder: Path, port: int, access: str, scheme: str) -> Path:
    """Write the configuration with its helper; return its path."""
    helper, configuration = folder / "helper", folder / "squid.conf"
    helper.write_text(HELPER.format(no="ERR" if scheme == "basic" else "BH no"))
    configuration.write_text(SQUID.format(port=port, helper=helper, scheme=scheme, access=access))
    # Squid started by root becomes another user, who runs the helper.
    for path in (folder, helper):
        path.chmod(0o755)
    return configuration


@asynccontextmanager
async def squid(access: str, scheme: str = "basic") -> AsyncIterator[int]:
    """Run Squid with a rule for ``http_access``, and ``scheme`` for logins; return its port."""
    program = needs.program("squid")
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        configuration = configure(Path(folder), port, access, scheme)
        # Its name is that of its shared memory, of which the machine has one.
        command = (program, "-N", "-n", f"test{port}", "-f", str(configuration))
        async with listening_program(port, *command):
            yield port


def through(port: int, target: int, login: str = "") -> Dialer:
    """Return what connects to a local port through Squid; ``login`` is ``user:password``."""
    user, _, password = login.partition(":")
    proxy = OutboundProxy("127.0.0.1", port, user, password)
    return Dialer(UpstreamOrigin("127.0.0.1", target, None, proxy), UpstreamSettings())


async def failure(dialer: Dialer) -> tuple[UpstreamFailure, str]:
    """Fail to connect; return reason and detail."""
    with pytest.raises(UpstreamError) as caught:
        await dial(dialer)
    return caught.value.reason, caught.value.detail


async def test_basic_login() -> None:
    """The right login opens a tunnel, a wrong one or none is told; so are closed targets."""
    async with (
        ScriptedUpstream(respond_to_all(b"yes")) as upstream,
        squid("allow known") as port,
    ):
        reader, writer = await dial(through(port, upstream.port, "me:word"))
        writer.write(b"GET / HTTP/1.1\r\nHost: bank\r\n\r\n")
        assert b"200 OK" in await reader.readuntil(b"yes")
        writer.close()
        for login in ("", "me:other"):
            kind, _ = await failure(through(port, upstream.port, login))
            assert kind is kinds.UPSTREAM_PROXY_LOGIN
        kind, detail = await failure(through(port, 9, "me:word"))
        assert (kind, "(403)" in detail) == (kinds.UPSTREAM_PROXY_REFUSED, True)
        kind, detail = await failure(through(port, 1, "me:word"))
        assert (kind, "(503)" in detail) == (kinds.UPSTREAM_PROXY_NO_CONNECTION, True)


async def test_negotiate_only() -> None:
    """The scheme is named, whether a password is configured or not."""
    async with squid("allow known", scheme="negotiate") as port:
        for login in ("", "me:word"):
            kind, detail = await failure(through(port, 1, login))
            assert kind is kinds.UPSTREAM_PROXY_SCHEME
            assert detail.endswith("It offers Negotiate.")
