"""Broken set-ups: the connection to the bank, outbound proxies and TLS."""

import asyncio
import socket
import ssl
from typing import Any

from tests.cli.doctor.healthy_setup import (
    DoctorSetup,
    certificate,
    refusing,
    serve_bytes,
    server_context,
)
from tests.cli.doctor.setups import Steps, setup
from tests.support.connect_proxy import ConnectProxy


def with_host(setup: DoctorSetup, host: str = "127.0.0.1") -> str:
    """Return the bank's URL with another host."""
    return f"{host}:{setup.bank.url.rpartition(':')[2]}"


@setup
async def unknown_host(setup: DoctorSetup) -> Steps:
    """A typing mistake."""
    setup.set(base_url="https://api.candescent.invalid/digitalbanking")
    _ = yield "upstream-resolve"
    setup.set(base_url=setup.bank.url)


@setup
async def closed_port(setup: DoctorSetup) -> Steps:
    """A wrong port, or the sandbox is not running."""
    port = int(setup.bank.url.rpartition(":")[2])
    await setup.bank.stop()
    _ = yield "upstream-connect"
    await setup.bank.start(port=port)


@setup
async def firewall_that_drops(setup: DoctorSetup) -> Steps:
    """Connections time out; a full listen queue simulates it."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        waiting = [socket.socket() for _ in range(4)]
        for sock in waiting:
            sock.setblocking(False)
            sock.connect_ex(full.getsockname())
        setup.use_short_timeouts()
        setup.set(base_url=f"http://127.0.0.1:{full.getsockname()[1]}")
        _ = yield "upstream-connect-timeout"
        for sock in waiting:
            sock.close()
    setup.use_default_timeouts()
    setup.set(base_url=setup.bank.url)


@setup
async def no_route(setup: DoctorSetup) -> Steps:
    """The address has no route."""
    setup.set(base_url="https://255.255.255.255")
    _ = yield "upstream-unreachable"
    setup.set(base_url=setup.bank.url)


@setup
async def outbound_proxy_not_configured(setup: DoctorSetup) -> Steps:
    """Browsers find it in the environment; this program needs a setting."""
    ca = certificate(setup.folder / "bank.pem", "api.candescent.invalid")
    port = await setup.https(ca)
    proxy = await setup.stack.enter_async_context(ConnectProxy(target_port=port))
    setup.environ["HTTPS_PROXY"] = proxy.url.replace("http://", "http://me:hidden-word@")
    setup.set(base_url="https://api.candescent.invalid", upstream={"ca_file": str(ca)})
    finding = yield "proxy-unset"
    assert "hidden-word" not in finding.text + finding.fix
    assert proxy.url in finding.text
    assert "cannot be reached. The resolver's words: " in finding.text
    assert finding.fix == "Set upstream.proxy: environment"
    setup.set(upstream={"ca_file": str(ca), "proxy": finding.fix.partition(": ")[2]})


async def through(setup: DoctorSetup, **options: Any) -> ConnectProxy:
    """Use an outbound proxy, to a bank with TLS."""
    own = certificate(setup.folder / "own.pem", "127.0.0.1")
    await setup.https(own)
    proxy = await setup.stack.enter_async_context(ConnectProxy(**options))
    setup.set(base_url=setup.bank.url, upstream={"proxy": proxy.url, "ca_file": str(own)})
    return proxy


@setup
async def outbound_proxy_with_a_wrong_name(setup: DoctorSetup) -> Steps:
    """Its name does not resolve."""
    setup.set(upstream={"proxy": "http://proxy.company.invalid:3128"})
    _ = yield "upstream-proxy-resolve"
    await through(setup)


@setup
async def outbound_proxy_that_is_down(setup: DoctorSetup) -> Steps:
    """Its port is closed."""
    setup.set(upstream={"proxy": "http://127.0.0.1:9"})
    _ = yield "upstream-proxy-connect"
    await through(setup)


@setup
async def outbound_proxy_that_requires_a_login(setup: DoctorSetup) -> Steps:
    """It responds 407."""
    await through(setup, login="me:a-password")
    _ = yield "upstream-proxy-login"
    password = setup.private("proxy-password", "a-password\n")
    login = {"proxy_user": "me", "proxy_password_file": password}
    setup.set(upstream=setup.settings["upstream"] | login)


@setup
async def outbound_proxy_that_requires_kerberos(setup: DoctorSetup) -> Steps:
    """It offers Negotiate and NTLM only."""
    challenge = (
        "HTTP/1.1 407 No\r\nProxy-Authenticate: Negotiate\r\nProxy-Authenticate: NTLM\r\n\r\n"
    )
    proxy = await through(setup, response=challenge.encode())
    finding = yield "upstream-proxy-scheme"
    assert "It offers Negotiate, NTLM." in finding.text
    proxy.response = b""


@setup
async def outbound_proxy_without_tls(setup: DoctorSetup) -> Steps:
    """Its URL says https."""
    proxy = await through(setup)
    upstream = setup.settings["upstream"]
    setup.set(upstream=upstream | {"proxy": proxy.url.replace("http:", "https:")})
    _ = yield "upstream-proxy-tls"
    setup.set(upstream=upstream)


@setup
async def outbound_proxy_that_refuses(setup: DoctorSetup) -> Steps:
    """It responds 403."""
    proxy = await through(setup, response=b"HTTP/1.1 403 Not there\r\n\r\n")
    finding = yield "upstream-proxy-refused"
    assert "403" in finding.text
    proxy.response = b""


@setup
async def outbound_proxy_that_does_not_reach_the_bank(setup: DoctorSetup) -> Steps:
    """It responds 503."""
    proxy = await through(setup, response=b"HTTP/1.1 503 Service Unavailable\r\n\r\n")
    finding = yield "upstream-proxy-no-connection"
    assert "503" in finding.text
    proxy.response = b""


@setup
async def outbound_proxy_of_another_protocol(setup: DoctorSetup) -> Steps:
    """Another service listens there."""
    proxy = await through(setup, response=b"SSH-2.0-OpenSSH_9.6\r\n")
    _ = yield "upstream-proxy-malformed"
    proxy.response = b""


@setup
async def outbound_proxy_that_hangs(setup: DoctorSetup) -> Steps:
    """It accepts the connection and does not respond."""
    proxy = await through(setup, silent=True)
    setup.use_short_timeouts()
    finding = yield "upstream-proxy-timeout"
    assert f"The address was 127.0.0.1:{proxy.port}." in finding.text
    proxy.silent = False
    setup.use_default_timeouts()


@setup
async def handshake_without_a_response(setup: DoctorSetup) -> Steps:
    """The connection is accepted only."""
    port = await serve_bytes(b"", setup.stack, hold=True)
    setup.use_short_timeouts()
    setup.set(base_url=f"https://127.0.0.1:{port}")
    _ = yield "upstream-tls-timeout"
    setup.use_default_timeouts()
    setup.set(base_url=setup.bank.url)


@setup
async def self_signed_certificate(setup: DoctorSetup) -> Steps:
    """No authority has signed it."""
    own = certificate(setup.folder / "own.pem", "127.0.0.1")
    await setup.https(own)
    setup.set(base_url=setup.bank.url)
    _ = yield "upstream-tls-self-signed"
    setup.set(upstream={"ca_file": str(own)})


@setup
async def unknown_authority(setup: DoctorSetup) -> Steps:
    """A company inspects TLS, and its authority is not installed."""
    ca = certificate(setup.folder / "ca.pem")
    await setup.https(certificate(setup.folder / "bank.pem", "127.0.0.1", issuer=ca))
    setup.set(base_url=setup.bank.url)
    _ = yield "upstream-tls-untrusted"
    setup.set(upstream={"ca_file": str(ca)})


@setup
async def expired_bank_certificate(setup: DoctorSetup) -> Steps:
    """The bank has not renewed it."""
    ca = certificate(setup.folder / "ca.pem", since=-30)
    over = certificate(setup.folder / "bank.pem", "127.0.0.1", since=-9, until=-2, issuer=ca)
    await setup.https(over)
    setup.set(base_url=setup.bank.url, upstream={"ca_file": str(ca)})
    _ = yield "upstream-tls-expired"
    port = await setup.https(certificate(over, "127.0.0.1", issuer=ca))
    setup.set(base_url=f"https://127.0.0.1:{port}")


@setup
async def bank_certificate_not_yet_valid(setup: DoctorSetup) -> Steps:
    """Usually this machine's clock is behind."""
    ca = certificate(setup.folder / "ca.pem", since=-30)
    early = certificate(setup.folder / "bank.pem", "127.0.0.1", since=1, until=9, issuer=ca)
    await setup.https(early)
    setup.set(base_url=setup.bank.url, upstream={"ca_file": str(ca)})
    _ = yield "upstream-tls-not-yet-valid"
    port = await setup.https(certificate(early, "127.0.0.1", issuer=ca))
    setup.set(base_url=f"https://127.0.0.1:{port}")


@setup
async def certificate_for_another_name(setup: DoctorSetup) -> Steps:
    """The server is called by a wrong name."""
    ca = certificate(setup.folder / "ca.pem")
    await setup.https(certificate(setup.folder / "bank.pem", "localhost", issuer=ca))
    setup.set(base_url=setup.bank.url, upstream={"ca_file": str(ca)})
    finding = yield "upstream-tls-name"
    assert "is for localhost, not for 127.0.0.1" in finding.text
    setup.set(base_url=f"https://{with_host(setup, 'localhost')}")


@setup
async def https_to_a_plain_port(setup: DoctorSetup) -> Steps:
    """The sandbox is called with https."""
    setup.set(base_url=f"https://{with_host(setup)}")
    _ = yield "upstream-tls-plain-http"
    setup.set(base_url=f"http://{with_host(setup)}")


@setup
async def http_to_a_tls_port(setup: DoctorSetup) -> Steps:
    """TLS is required."""
    own = certificate(setup.folder / "own.pem", "127.0.0.1")
    await setup.https(own)
    setup.set(base_url=f"http://{with_host(setup)}", upstream={"ca_file": str(own)})
    finding = yield "plain-tls"
    assert finding.fix == "Set base_url to https://."
    setup.set(base_url=f"https://{with_host(setup)}")


@setup
async def http_to_a_tls_port_of_nginx(setup: DoctorSetup) -> Steps:
    """It responds with an explanatory 400."""
    own = certificate(setup.folder / "own.pem", "127.0.0.1")
    await setup.https(own)
    bank, port = with_host(setup), int(setup.bank.url.rpartition(":")[2])

    async def nginx(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first = await reader.read(1)
        if first != b"\x16":
            writer.write(b"HTTP/1.1 400 Bad Request\r\nServer: nginx\r\n\r\n")
        else:
            there, back = await asyncio.open_connection("127.0.0.1", port)
            back.write(first + await reader.read(4096))
            writer.write(await there.read(4096))
            back.close()
        writer.close()

    server = await asyncio.start_server(nginx, "127.0.0.1", 0)
    setup.stack.callback(server.close)
    setup.set(base_url=f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    setup.set(upstream={"ca_file": str(own)})
    _ = yield "plain-tls"
    setup.set(base_url=f"https://{bank}")


@setup
async def bank_that_requires_a_certificate(setup: DoctorSetup) -> Steps:
    """Mutual TLS without a client certificate."""
    own = certificate(setup.folder / "own.pem", "127.0.0.1")
    context = server_context(own)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(own)
    port = refusing(context, setup.stack)
    setup.set(base_url=f"https://127.0.0.1:{port}", upstream={"ca_file": str(own)})
    _ = yield "upstream-tls-client-certificate"
    await setup.https(own, context)
    ours = certificate(setup.folder / "ours.pem", "proxy", issuer=own, until=30)
    files = {"ca_file": str(own), "certificate_file": str(ours)}
    setup.set(base_url=setup.bank.url, upstream=files)


@setup
async def no_common_cipher(setup: DoctorSetup) -> Steps:
    """Client and server share no cipher."""
    own = certificate(setup.folder / "own.pem", "127.0.0.1")
    context = server_context(own)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("AES128-GCM-SHA256")  # for RSA keys, and this one is not
    port = refusing(context, setup.stack)
    setup.set(base_url=f"https://127.0.0.1:{port}", upstream={"ca_file": str(own)})
    _ = yield "upstream-tls"
    await setup.https(own)
    setup.set(base_url=setup.bank.url)


@setup
async def another_protocol(setup: DoctorSetup) -> Steps:
    """Another service listens on the port."""
    port = await serve_bytes(b"SSH-2.0-OpenSSH_9.6\r\n", setup.stack)
    setup.set(base_url=f"http://127.0.0.1:{port}")
    _ = yield "upstream-malformed"
    setup.set(base_url=setup.bank.url)


@setup
async def closed_connection(setup: DoctorSetup) -> Steps:
    """As of a balancer without a backend."""
    port = await serve_bytes(b"", setup.stack)
    setup.set(base_url=f"http://127.0.0.1:{port}")
    _ = yield "upstream-closed"
    setup.set(base_url=setup.bank.url)


@setup
async def clock_ahead(setup: DoctorSetup) -> Steps:
    """By five minutes."""
    setup.clock_offset = 300
    finding = yield "clock"
    assert " s ahead of the bank's" in finding.text
    setup.clock_offset = 0


@setup
async def clock_behind(setup: DoctorSetup) -> Steps:
    """By two minutes."""
    setup.clock_offset = -120
    finding = yield "clock"
    assert "This machine's clock is 1" in finding.text
    assert " s behind the bank's" in finding.text
    setup.clock_offset = 0
