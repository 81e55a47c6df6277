"""Broken set-ups: each breaks something, yields the cause that it should be told, and cures it.

What comes back from the ``yield`` is the finding, whose cure is then done.
"""

import asyncio
import socket
import ssl
from collections.abc import AsyncGenerator, Callable
from typing import Any

from proxy import settings
from proxy.commands.login import login
from proxy.doctor.findings import Finding
from proxy.sandbox import Fault
from tests.connect_proxy import ConnectProxy
from tests.doctor.world import World, certificate, refusing, saying, shown
from tests.mounts import write

Steps = AsyncGenerator[str, Finding]
Setup = Callable[[World], Steps]

SETUPS: list[Setup] = []


def setup(steps: Setup) -> Setup:
    """Add it to those that are tried."""
    SETUPS.append(steps)
    return steps


def behind(world: World, host: str = "127.0.0.1") -> str:
    """Return the bank's address under another name."""
    return f"{host}:{world.bank.url.rpartition(':')[2]}"


# The configuration.


@setup
async def file_that_is_not_there(world: World) -> Steps:
    """The file was never written, or stands elsewhere."""
    text = world.file.read_text()
    world.file.unlink()
    _ = yield "config-unreadable"
    write(world.file, text)
    world.file.chmod(0o644)


@setup
async def misspelt_setting(world: World) -> Steps:
    """A letter is missing."""
    world.set(lisen="127.0.0.1:0")
    finding = yield "config-mistake"
    assert "did you mean listen?" in finding.text
    world.set(lisen=None)


@setup
async def variable_left_in_the_shell(world: World) -> Steps:
    """The file is right, and the environment has the same secret of another day."""
    world.environ["CANDESCENT_CLIENT_SECRET"] = "sandbox-secret"
    finding = yield "config-overridden"
    assert "client_secret_file" in finding.text
    assert finding.cure.endswith("unset CANDESCENT_CLIENT_SECRET.")
    del world.environ["CANDESCENT_CLIENT_SECRET"]


@setup
async def file_that_others_may_change(world: World) -> Steps:
    """Whoever changes base_url gets the next token."""
    world.file.chmod(0o666)
    finding = yield "config-writable"
    world.obey(finding.cure)


@setup
async def certificate_that_is_none(world: World) -> Steps:
    """The setting names some other file."""
    file = world.folder / "server.pem"
    write(file, "not a certificate\n")
    world.set(callers={"certificate_file": str(file)})
    finding = yield "file-unusable"
    assert "callers.certificate_file" in finding.text
    certificate(file, "localhost", until=30)


@setup
async def certificate_that_is_over(world: World) -> Steps:
    """Nobody has renewed what the proxy shows to applications."""
    file = certificate(world.folder / "server.pem", "localhost", since=-9, until=-1)
    world.set(callers={"certificate_file": str(file)})
    _ = yield "certificate-over"
    certificate(file, "localhost", until=30)


@setup
async def certificate_that_is_almost_over(world: World) -> Steps:
    """A week is left."""
    file = certificate(world.folder / "server.pem", "localhost", until=7)
    world.set(callers={"certificate_file": str(file)})
    _ = yield "certificate-ending"
    certificate(file, "localhost", until=30)


# Secret files.


@setup
async def secret_that_is_missing(world: World) -> Steps:
    """The file is not there."""
    world.secret.unlink()
    _ = yield "secret-missing"
    world.hold()


@setup
async def secret_that_is_a_folder(world: World) -> Steps:
    """The setting names the folder that the secret is in."""
    (world.folder / "folder").mkdir()
    world.set(client_secret_file=str(world.folder / "folder"))
    _ = yield "secret-unreadable"
    world.set(client_secret_file=str(world.secret))


@setup
async def secret_that_is_empty(world: World) -> Steps:
    """A line end is all there is."""
    world.hold("\n")
    _ = yield "secret-empty"
    world.hold()


@setup
async def secret_with_a_mark(world: World) -> Steps:
    """Notepad has saved it as UTF-8 with a byte-order mark."""
    world.hold(b"\xef\xbb\xbfsandbox-secret\r\n")
    _ = yield "secret-mark"
    world.hold()


@setup
async def secret_from_powershell(world: World) -> Steps:
    """Out-File has written UTF-16."""
    world.hold("sandbox-secret\r\n".encode("utf-16"))
    _ = yield "secret-mark"
    world.hold("sandbox-secret\r\n")


@setup
async def secret_with_more_lines(world: World) -> Steps:
    """The whole page of the console was pasted."""
    world.hold("Shared Key\nsandbox-client\nSecret Key\nsandbox-secret\n")
    finding = yield "secret-lines"
    assert "4 lines" in finding.text
    world.hold()


@setup
async def secret_with_a_dash_of_a_word_processor(world: World) -> Steps:
    """A document has made a long dash of the short one."""
    world.hold("sandbox\u2013secret")
    _ = yield "secret-letters"
    world.hold()


@setup
async def secret_that_others_can_read(world: World) -> Steps:
    """It was written without a thought of the mode."""
    world.secret.chmod(0o644)
    finding = yield "secret-exposed"
    world.obey(finding.cure)


@setup
async def login_that_has_no_folder(world: World) -> Steps:
    """Where the login shall be kept, nothing can be written."""
    folder = world.folder / "logins"
    world.set(refresh_token_file=str(folder / "login.json"))
    finding = yield "login-folder"
    assert str(folder) in finding.text
    folder.mkdir()


@setup
async def nobody_logged_in(world: World) -> Steps:
    """The grant needs a person, and none was there."""
    world.set(grant="authorization_code", refresh_token_file=str(world.folder / "login.json"))
    finding = yield "login-needed"
    assert finding.cure == "candescent-proxy login"
    config = settings.load(world.file, {}, {})
    code = world.bank.bank.code_for("juniper.quill", institution="00016")
    assert await login(config, settings.logins(config), None, code) == 0


# The way to the bank.


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
        world.set(base_url=f"http://127.0.0.1:{full.getsockname()[1]}")
        _ = yield "connect-timeout"
        for sock in waiting:
            sock.close()
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
    _ = yield "proxy-timeout"
    proxy.silent = False


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


# Tokens.


@setup
async def wrong_key(world: World) -> Steps:
    """The secret of another environment."""
    world.hold("secret-of-production")
    finding = yield "token-bad-client"
    assert "secret-of-production" not in finding.text + finding.cure
    assert "CMN_90004" in finding.text
    world.hold()


@setup
async def wrong_institution(world: World) -> Steps:
    """A spreadsheet has taken the zeros away."""
    world.set(institution_id="16")
    finding = yield "token-bad-institution"
    assert "leading zeros" in finding.cure
    world.set(institution_id="00016")


@setup
async def wrong_key_of_another_institution(world: World) -> Steps:
    """One of two logins is wrong, and the finding says which."""
    wrong = world.private("other-secret", "not-this-one")
    login = {"client_id": "sandbox-client", "client_secret_file": wrong}
    world.set(institutions={"00017": login})
    finding = yield "token-bad-client"
    assert "v2:00017" in finding.text
    world.private("other-secret", "sandbox-secret")


@setup
async def wrong_password(world: World) -> Steps:
    """The user's, not the application's."""
    password = world.private("password", "starlight")
    world.set(username="juniper", password_file=password)
    _ = yield "token-bad-user"
    world.private("password", "moonlight")


@setup
async def scopes_that_are_not_ours(world: World) -> Steps:
    """One that the bank does not know."""
    world.set(scopes="accounts:burn")
    _ = yield "token-bad-request"
    world.set(scopes="accounts:read")


def spoil(world: World, fault: Fault) -> None:
    """Let something go wrong at the bank."""
    world.bank.bank.faults.append(fault)


@setup
async def quota_that_is_used_up(world: World) -> Steps:
    """As the bank says it: a 500."""
    spoil(world, Fault("token", code="CMN_90002"))
    _ = yield "token-throttled"
    world.bank.bank.faults.clear()


@setup
async def spike_that_is_arrested(world: World) -> Steps:
    """As the gateway says it: a 429."""
    spoil(world, Fault("token", code="CMN_90003", status=429))
    _ = yield "token-throttled"
    world.bank.bank.faults.clear()


@setup
async def bank_that_is_down(world: World) -> Steps:
    """503, whatever is asked for."""
    spoil(world, Fault("any", status=503))
    _ = yield "token-server"
    world.bank.bank.faults.clear()


@setup
async def bank_that_is_slow(world: World) -> Steps:
    """Slower than token.timeout."""
    spoil(world, Fault("token", delay=1.5))
    finding = yield "token-timeout"
    assert "0.5 s" in finding.text
    world.set(token={"timeout": "4"})


@setup
async def bank_that_hangs_up(world: World) -> Steps:
    """On token requests only."""
    spoil(world, Fault("token", reset=True))
    _ = yield "token-unreachable"
    world.bank.bank.faults.clear()


@setup
async def answer_without_a_token(world: World) -> Steps:
    """200, and nothing in it."""
    spoil(world, Fault("token", shape="notoken"))
    _ = yield "token-strange"
    world.bank.bank.faults.clear()


@setup
async def wrong_base_path(world: World) -> Steps:
    """The path was left out, or has one part too many."""
    spoil(world, Fault("any", path_prefix="/stage", wire=NOT_FOUND))
    world.set(base_url=world.bank.url + "/stage")
    finding = yield "token-path"
    assert "404" in finding.text
    world.set(base_url=world.bank.url)


NOT_FOUND = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
TO_LOG_IN = (
    b"HTTP/1.1 302 Found\r\nLocation: http://log.in/\r\nContent-Length: 0\r\n"
    b"Connection: close\r\n\r\n"
)


@setup
async def page_of_a_hotel(world: World) -> Steps:
    """A network that wants its guests to log in first."""
    spoil(world, Fault("token", shape="html"))
    _ = yield "token-page"
    world.bank.bank.faults.clear()


@setup
async def hotel_that_sends_to_its_page(world: World) -> Steps:
    """The same, by a redirect."""
    spoil(world, Fault("token", wire=TO_LOG_IN))
    _ = yield "token-redirect"
    world.bank.bank.faults.clear()


@setup
async def keys_for_v2_alone(world: World) -> Steps:
    """V1 is configured, and the application was never enabled for it."""
    spoil(world, Fault("v1token", status=401))
    world.set(token={"prefetch": ["v2", "v1"], "timeout": "0.5"})
    finding = yield "v1-refused"
    assert "v1:00016" in finding.text
    world.set(token={"prefetch": ["v2"], "timeout": "0.5"})


# The sample call.


@setup
async def token_that_is_refused_at_once(world: World) -> Steps:
    """Token endpoint and resources are of two environments."""
    spoil(world, Fault("resource", code="CMN_90018"))
    _ = yield "call-token-refused"
    world.bank.bank.faults.clear()


@setup
async def resource_that_is_not_ours(world: World) -> Steps:
    """The application has no such product."""
    spoil(world, Fault("resource", code="CMN_90006", status=403))
    _ = yield "call-forbidden"
    world.bank.bank.faults.clear()


@setup
async def quota_of_calls_that_is_used_up(world: World) -> Steps:
    """Tokens are given, calls are not answered."""
    spoil(world, Fault("resource", code="CMN_90002"))
    _ = yield "call-throttled"
    world.bank.bank.faults.clear()


@setup
async def resource_that_is_not_there(world: World) -> Steps:
    """Another one has to be tried."""
    world.sample = "/v1/no-such-thing"
    _ = yield "call-path"
    world.sample = "/v1/transactions?accountId=A1"


@setup
async def resources_that_are_down(world: World) -> Steps:
    """Tokens are given, and nothing else."""
    spoil(world, Fault("resource", status=502))
    _ = yield "call-server"
    world.bank.bank.faults.clear()


@setup
async def page_in_place_of_accounts(world: World) -> Steps:
    """A filter lets token calls pass, and nothing else."""
    spoil(world, Fault("resource", shape="html", status=403))
    _ = yield "call-page"
    world.bank.bank.faults.clear()


@setup
async def resources_that_say_nothing(world: World) -> Steps:
    """The connection is cut."""
    spoil(world, Fault("resource", reset=True, method="GET"))
    _ = yield "call-silent"
    world.bank.bank.faults.clear()


# This machine.


@setup
async def port_that_is_taken(world: World) -> Steps:
    """By another program."""
    port = await saying(b"HTTP/1.1 200 OK\r\n\r\n", world.stack)
    world.set(listen=f"127.0.0.1:{port}")
    finding = yield "port-taken"
    assert f"127.0.0.1:{port}" in finding.text
    world.set(listen="127.0.0.1:0")


@setup
async def port_that_says_nothing(world: World) -> Steps:
    """The admin port, taken by one that never answers."""
    port = await saying(b"", world.stack, hold=True)
    world.set(admin=f"127.0.0.1:{port}")
    _ = yield "port-taken"
    world.set(admin="127.0.0.1:0")


@setup
async def socket_that_is_taken(world: World) -> Steps:
    """By another program."""
    path = world.folder / "app.sock"
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))
        sock.listen()
        world.set(listen=f"unix:{path}")
        _ = yield "port-taken"
    assert path.exists()  # what a program leaves behind is no hindrance


@setup
async def address_of_another_machine(world: World) -> Steps:
    """It was copied along with the file."""
    world.set(admin="192.0.2.1:9090")
    _ = yield "port-address"
    world.set(admin="127.0.0.1:0")


@setup
async def socket_without_a_folder(world: World) -> Steps:
    """Nobody has made it."""
    folder = world.folder / "sockets"
    world.set(listen=f"unix:{folder}/app.sock")
    _ = yield "socket-folder"
    folder.mkdir()
