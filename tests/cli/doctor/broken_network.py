"""Broken set-ups: the way to the bank, through proxies and TLS."""

import asyncio
import socket
import ssl
from typing import Any

from tests.cli.doctor.healthy_setup import World, certificate, refusing, saying, shown
from tests.cli.doctor.setups import Steps, setup
from tests.support.connect_proxy import ConnectProxy


def behind(world: World, host: str = "127.0.0.1") -> str:
    """Return the bank's address under another name."""
    return f"{host}:{world.bank.url.rpartition(':')[2]}"


@setup
async def host_that_does_not_exist(world: World) -> Steps:
    """A typing mistake in the name."""
    world.set(base_url="https://api.candescent.invalid/digitalbanking")
    _ = yield "name"
    world.set(base_url=world.bank.url)


@setup
async def nothing_listens(world: World) -> Steps:
    """The port is wrong, or the sandbox was not started."""
    port = int(world.bank.url.rpartition(":")[2])
    await world.bank.stop()
    _ = yield "connect-refused"
    await world.bank.start(port=port)


@setup
async def firewall_that_drops(world: World) -> Steps:
    """Nobody answers, not even with a refusal: here, because a full queue drops newcomers."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        waiting = [socket.socket() for _ in range(4)]
        for sock in waiting:
            sock.setblocking(False)
            sock.connect_ex(full.getsockname())
        world.hasty()
        world.set(base_url=f"http://127.0.0.1:{full.getsockname()[1]}")
        _ = yield "connect-timeout"
        for sock in waiting:
            sock.close()
    world.patient()
    world.set(base_url=world.bank.url)


@setup
async def no_way_there(world: World) -> Steps:
    """An address that no route leads to."""
    world.set(base_url="https://255.255.255.255")
    _ = yield "connect-unreachable"
    world.set(base_url=world.bank.url)


@setup
async def company_proxy_that_is_not_set(world: World) -> Steps:
    """Browsers find the company's proxy in the environment; this program wants it said."""
    ca = certificate(world.folder / "bank.pem", "api.candescent.invalid")
    port = await world.https(ca)
    proxy = await world.stack.enter_async_context(ConnectProxy(leads_to=port))
    world.environ["HTTPS_PROXY"] = proxy.url.replace("http://", "http://me:hidden-word@")
    world.set(base_url="https://api.candescent.invalid", upstream={"ca_file": str(ca)})
    finding = yield "proxy-unset"
    assert "hidden-word" not in finding.text + finding.cure
    assert finding.cure == f"Set upstream.proxy: {proxy.url}"
    world.set(upstream={"ca_file": str(ca), "proxy": finding.cure.partition(": ")[2]})


async def through(world: World, **told: Any) -> ConnectProxy:
    """Let the way lead through a company's proxy, to a bank that speaks TLS."""
    own = certificate(world.folder / "own.pem", "127.0.0.1")
    await world.https(own)
    proxy = await world.stack.enter_async_context(ConnectProxy(**told))
    world.set(base_url=world.bank.url, upstream={"proxy": proxy.url, "ca_file": str(own)})
    return proxy


@setup
async def company_proxy_with_a_wrong_name(world: World) -> Steps:
    """Its name does not resolve."""
    world.set(upstream={"proxy": "http://proxy.company.invalid:3128"})
    _ = yield "proxy-name"
    await through(world)


@setup
async def company_proxy_that_is_down(world: World) -> Steps:
    """Nothing listens where it should."""
    world.set(upstream={"proxy": "http://127.0.0.1:9"})
    _ = yield "proxy-connect"
    await through(world)


@setup
async def company_proxy_that_wants_a_login(world: World) -> Steps:
    """It says 407 to those whom it does not know."""
    await through(world, login="me:a-password")
    _ = yield "proxy-login"
    password = world.private("proxy-password", "a-password\n")
    login = {"proxy_user": "me", "proxy_password_file": password}
    world.set(upstream=world.written["upstream"] | login)


@setup
async def company_proxy_that_refuses(world: World) -> Steps:
    """It knows us, and does not let us there."""
    proxy = await through(world, answer=b"HTTP/1.1 403 Not there\r\n\r\n")
    finding = yield "proxy-refused"
    assert "403" in finding.text
    proxy.answer = b""


@setup
async def company_proxy_that_is_none(world: World) -> Steps:
    """Something else listens there."""
    proxy = await through(world, answer=b"SSH-2.0-OpenSSH_9.6\r\n")
    _ = yield "proxy-strange"
    proxy.answer = b""


@setup
async def company_proxy_that_hangs(world: World) -> Steps:
    """It takes the connection and says nothing."""
    proxy = await through(world, silent=True)
    world.hasty()
    _ = yield "proxy-timeout"
    proxy.silent = False
    world.patient()


@setup
async def certificate_that_vouches_for_itself(world: World) -> Steps:
    """Nobody else does."""
    own = certificate(world.folder / "own.pem", "127.0.0.1")
    await world.https(own)
    world.set(base_url=world.bank.url)
    _ = yield "tls-self-signed"
    world.set(upstream={"ca_file": str(own)})


@setup
async def authority_that_is_not_known(world: World) -> Steps:
    """A company looks into TLS, and its authority is not installed here."""
    ca = certificate(world.folder / "ca.pem")
    await world.https(certificate(world.folder / "bank.pem", "127.0.0.1", issuer=ca))
    world.set(base_url=world.bank.url)
    _ = yield "tls-untrusted"
    world.set(upstream={"ca_file": str(ca)})


@setup
async def bank_certificate_that_is_over(world: World) -> Steps:
    """The bank has forgotten to renew it."""
    ca = certificate(world.folder / "ca.pem", since=-30)
    over = certificate(world.folder / "bank.pem", "127.0.0.1", since=-9, until=-2, issuer=ca)
    await world.https(over)
    world.set(base_url=world.bank.url, upstream={"ca_file": str(ca)})
    _ = yield "tls-expired"
    port = await world.https(certificate(over, "127.0.0.1", issuer=ca))
    world.set(base_url=f"https://127.0.0.1:{port}")


@setup
async def bank_certificate_of_tomorrow(world: World) -> Steps:
    """Most often, this machine's clock lives in the past."""
    ca = certificate(world.folder / "ca.pem", since=-30)
    early = certificate(world.folder / "bank.pem", "127.0.0.1", since=1, until=9, issuer=ca)
    await world.https(early)
    world.set(base_url=world.bank.url, upstream={"ca_file": str(ca)})
    _ = yield "tls-early"
    port = await world.https(certificate(early, "127.0.0.1", issuer=ca))
    world.set(base_url=f"https://127.0.0.1:{port}")


@setup
async def certificate_for_another_name(world: World) -> Steps:
    """The server has the right certificate, and is called by a wrong name."""
    ca = certificate(world.folder / "ca.pem")
    await world.https(certificate(world.folder / "bank.pem", "localhost", issuer=ca))
    world.set(base_url=world.bank.url, upstream={"ca_file": str(ca)})
    finding = yield "tls-name"
    assert "is for localhost, not for 127.0.0.1" in finding.text
    world.set(base_url=f"https://{behind(world, 'localhost')}")


@setup
async def https_to_a_plain_port(world: World) -> Steps:
    """The sandbox is called with https."""
    world.set(base_url=f"https://{behind(world)}")
    _ = yield "tls-plain"
    world.set(base_url=f"http://{behind(world)}")


@setup
async def http_to_a_tls_port(world: World) -> Steps:
    """The other way round."""
    own = certificate(world.folder / "own.pem", "127.0.0.1")
    await world.https(own)
    world.set(base_url=f"http://{behind(world)}", upstream={"ca_file": str(own)})
    finding = yield "plain-tls"
    assert finding.cure == "Write https:// in base_url."
    world.set(base_url=f"https://{behind(world)}")


@setup
async def http_to_a_tls_port_that_explains_itself(world: World) -> Steps:
    """Such as nginx does, with a 400 of its own."""
    own = certificate(world.folder / "own.pem", "127.0.0.1")
    await world.https(own)
    bank, port = behind(world), int(world.bank.url.rpartition(":")[2])

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
    world.stack.callback(server.close)
    world.set(base_url=f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    world.set(upstream={"ca_file": str(own)})
    _ = yield "plain-tls"
    world.set(base_url=f"https://{bank}")


@setup
async def bank_that_wants_a_certificate(world: World) -> Steps:
    """Mutual TLS, and we have nothing to show."""
    own = certificate(world.folder / "own.pem", "127.0.0.1")
    context = shown(own)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(own)
    port = refusing(context, world.stack)
    world.set(base_url=f"https://127.0.0.1:{port}", upstream={"ca_file": str(own)})
    _ = yield "tls-certificate-wanted"
    await world.https(own, context)
    ours = certificate(world.folder / "ours.pem", "proxy", issuer=own, until=30)
    files = {"ca_file": str(own), "certificate_file": str(ours)}
    world.set(base_url=world.bank.url, upstream=files)


@setup
async def tls_of_another_age(world: World) -> Steps:
    """The two have no cipher in common."""
    own = certificate(world.folder / "own.pem", "127.0.0.1")
    context = shown(own)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("AES128-GCM-SHA256")  # for RSA keys, and this one is none
    port = refusing(context, world.stack)
    world.set(base_url=f"https://127.0.0.1:{port}", upstream={"ca_file": str(own)})
    _ = yield "tls-failed"
    await world.https(own)
    world.set(base_url=world.bank.url)


@setup
async def something_that_is_not_http(world: World) -> Steps:
    """Another service listens on the port."""
    port = await saying(b"SSH-2.0-OpenSSH_9.6\r\n", world.stack)
    world.set(base_url=f"http://127.0.0.1:{port}")
    _ = yield "answer-strange"
    world.set(base_url=world.bank.url)


@setup
async def something_that_hangs_up(world: World) -> Steps:
    """A balancer without anything behind it."""
    port = await saying(b"", world.stack)
    world.set(base_url=f"http://127.0.0.1:{port}")
    _ = yield "answer-none"
    world.set(base_url=world.bank.url)


@setup
async def clock_that_is_ahead(world: World) -> Steps:
    """By five minutes."""
    world.ahead = 300
    finding = yield "clock"
    assert " s ahead of the bank's" in finding.text
    world.ahead = 0


@setup
async def clock_that_is_behind(world: World) -> Steps:
    """By two minutes."""
    world.ahead = -120
    finding = yield "clock"
    assert "This machine's clock is 1" in finding.text
    assert " s behind the bank's" in finding.text
    world.ahead = 0
