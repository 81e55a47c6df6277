"""Who may call: shared secrets, client certificates, a Unix socket, and nobody else."""

import asyncio
import base64
import ssl
import stat
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from proxy.config import loader
from proxy.errors import CallerError, ConfigError
from proxy.forwarding.authentication import (
    CallerAuthentication,
    secret_in,
    server_context,
    subject_names,
)
from proxy.forwarding.caller_settings import CallerSettings
from proxy.runtime.app import App
from proxy.sandbox import Sandbox
from proxy.upstream.tls import client_context
from tests.support.certificates import OpensslAuthority
from tests.support.mounted_files import MountedSecret, write
from tests.support.proxy_fixture import ProxyFixture, proxy_fixture
from tests.support.running import CLIENT, DEADLINE, running, until

SETTINGS = TypeAdapter(CallerSettings)

EVERYWHERE = "0.0.0.0:0"


async def speak(app: App, *headers: bytes, tls: ssl.SSLContext | None = None) -> bytes:
    """Send a request with these header lines over a connection of its own; return the answer."""
    address = app.data_address
    if address.path:
        reader, writer = await asyncio.open_unix_connection(address.path)
    else:
        host = "127.0.0.1" if address.host == "0.0.0.0" else address.host  # noqa: S104 - read only
        reader, writer = await asyncio.open_connection(host, address.port, ssl=tls)
    lines = [b"GET /echo HTTP/1.1", b"Host: x", b"Connection: close", *headers, b"", b""]
    writer.write(b"\r\n".join(lines))
    try:
        return await reader.read()
    finally:
        writer.close()


def basic(pair: bytes) -> bytes:
    """Return a Proxy-Authorization header with this user and password."""
    return b"Proxy-Authorization: Basic " + base64.b64encode(pair)


def bearer(secret: bytes) -> bytes:
    """Return a Proxy-Authorization header with this secret."""
    return b"Proxy-Authorization: Bearer " + secret


# Shared secrets.


@pytest.fixture
async def guarded(tmp_path: Path) -> AsyncIterator[App]:
    """A proxy on every address, with two secrets."""
    write(tmp_path / "today", "secret-of-today")
    write(tmp_path / "tomorrow", "secret-of-tomorrow\n")
    files = [str(tmp_path / name) for name in ("today", "tomorrow")]
    async with (
        Sandbox() as bank,
        running(bank, listen=EVERYWHERE, callers={"secret_files": files}) as app,
    ):
        yield app


@pytest.mark.parametrize(
    "header",
    [
        bearer(b"secret-of-today"),
        bearer(b"secret-of-tomorrow"),
        b"proxy-authorization: bearer   secret-of-today",
        basic(b"anyone:secret-of-today"),
        basic(b":secret-of-tomorrow"),
        b"PROXY-AUTHORIZATION: BASIC " + base64.b64encode(b"x:secret-of-today"),
    ],
)
async def test_either_secret_is_let_in(guarded: App, header: bytes) -> None:
    """As a Bearer or as the password of a Basic login, in any case, and never passed on."""
    answer = await speak(guarded, header)
    assert answer.startswith(b"HTTP/1.1 200")
    assert b"roxy-" not in answer
    assert b"secret-of" not in answer


HOSTILE = {
    "nothing": (),
    "empty": (b"Proxy-Authorization:",),
    "scheme only": (b"Proxy-Authorization: Bearer",),
    "wrong": (bearer(b"secret-of-yesterday"),),
    "shorter": (bearer(b"secret-of-toda"),),
    "longer": (bearer(b"secret-of-today!"),),
    "both in one": (bearer(b"secret-of-today,secret-of-tomorrow"),),
    "other case": (bearer(b"Secret-Of-Today"),),
    "no scheme": (b"Proxy-Authorization: secret-of-today",),
    "other scheme": (b"Proxy-Authorization: Digest secret-of-today",),
    "as the user": (basic(b"secret-of-today:"),),
    "without a colon": (basic(b"secret-of-today"),),
    "no base64": (b"Proxy-Authorization: Basic !!!!",),
    "cut base64": (basic(b"x:secret-of-today")[:-2],),
    "other bytes": (basic(b"x:secret-of-today\xff"),),
    "NUL in base64": (basic(b"x:secret-of-today\0"),),
    "twice": (bearer(b"secret-of-today"), bearer(b"secret-of-today")),
    "wrong and right": (bearer(b"wrong"), bearer(b"secret-of-today")),
    "in Authorization": (b"Authorization: Bearer secret-of-today",),
    "with an underscore": (b"Proxy_Authorization: Bearer secret-of-today",),
    "long": (bearer(b"s" * 8000),),
}


@pytest.mark.parametrize("case", HOSTILE)
async def test_nobody_else_is_let_in(guarded: App, case: str) -> None:
    """403 that says what to show, and shows nothing back; the bank hears nothing of it."""
    answer = await speak(guarded, *HOSTILE[case])
    assert answer.startswith(b"HTTP/1.1 403")
    assert b"Proxy-Authorization" in answer
    assert b"x-proxy-error-source: caller" in answer
    assert b"secret-of" not in answer
    assert guarded.forwarder.in_flight == 0
    assert guarded.pool.opened_count == 0


async def test_refused_body_is_not_read(guarded: App) -> None:
    """A stranger's upload ends with the refusal."""
    reader, writer = await asyncio.open_connection("127.0.0.1", guarded.data_address.port)
    writer.write(b"POST /upload HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\n")
    answer = await asyncio.wait_for(reader.read(), DEADLINE)
    assert answer.startswith(b"HTTP/1.1 403")
    assert b"Connection: close" in answer
    writer.close()


async def test_rotation_of_the_shared_secret(tmp_path: Path) -> None:
    """Old and new are good while both are there; after the old is gone it is good no more."""
    write(tmp_path / "secret", CLIENT["client_secret"])
    mount = MountedSecret(tmp_path / "callers", old="secret-one", new="secret-one")
    async with proxy_fixture(
        tmp_path / "proxy.yaml",
        client_secret_file=str(tmp_path / "secret"),
        callers={"secret_files": [str(mount / "old"), str(mount / "new")]},
    ) as fixture:
        assert [await status(fixture, one) for one in (b"secret-one", b"secret-two")] == [200, 403]
        mount.swap(old="secret-one", new="secret-two")
        await fixture.wait_for_reload()
        assert [await status(fixture, one) for one in (b"secret-one", b"secret-two")] == [200, 200]
        mount.swap(old="secret-two", new="secret-two")
        await fixture.wait_for_reload(2)
        assert [await status(fixture, one) for one in (b"secret-one", b"secret-two")] == [403, 200]
        mount.swap(old="secret-two", new="")
        await fixture.wait_for_failed_reload()
        assert await status(fixture, b"secret-two") == 200
        assert "secret-two" not in fixture.log.getvalue()


async def status(fixture: ProxyFixture, secret: bytes) -> int:
    """Return the status that a caller with this secret gets."""
    return int((await speak(fixture.app, bearer(secret)))[9:12])


@given(st.binary(max_size=40))
def test_no_header_value_is_a_mistake(value: bytes) -> None:
    """Whatever stands in the header, reading it fails nothing and finds no secret by accident."""
    assert secret_in(value) != b"the-secret"
    admission = CallerAuthentication(secrets=(b"the-secret",))
    with pytest.raises(CallerError) as refused:
        admission.check([(b"Proxy-Authorization", value)], lambda: None)
    assert refused.value.kind.status == 403


@given(st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1))
def test_any_secret_can_be_shown(secret: str) -> None:
    """Whatever can stand in a secret file can be shown both ways, colons included."""
    known = secret.encode()
    admission = CallerAuthentication(secrets=(b"another", known))
    for value in (b"Bearer " + known, b"Basic " + base64.b64encode(b"me:" + known)):
        admission.check([(b"Proxy-Authorization", value)], lambda: None)


def test_secrets_do_not_show() -> None:
    """Neither in the repr of what knows them nor in the refusal."""
    admission = CallerAuthentication(secrets=(b"the-secret",), allowed_names=frozenset({"app"}))
    assert "the-secret" not in repr(admission)


# Client certificates.


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> OpensslAuthority:
    """Who vouches for the port and for callers."""
    return OpensslAuthority.make(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def port_files(authority: OpensslAuthority) -> dict[str, str]:
    """Settings for a port that asks callers for a certificate of the authority."""
    return {
        "certificate_file": str(authority.issue("port", "IP:127.0.0.1", file="port")),
        "client_ca_file": str(authority.file),
    }


def caller(authority: OpensslAuthority, certificate: Path | None = None) -> ssl.SSLContext:
    """Return what a caller speaks TLS with."""
    context = ssl.create_default_context(cafile=authority.file)
    if certificate is not None:
        context.load_cert_chain(certificate)
    return context


@asynccontextmanager
async def mutual(port_files: dict[str, str], *names: str) -> AsyncIterator[App]:
    """A proxy on every address that lets in callers with a certificate, of these names if any."""
    callers: dict[str, Any] = {**port_files}
    if names:
        callers["client_names"] = list(names)
    async with Sandbox() as bank, running(bank, listen=EVERYWHERE, callers=callers) as app:
        yield app


@pytest.mark.parametrize(
    ("issued", "names"),
    [
        (("app",), ("app",)),
        (("app",), ("other", "app")),
        (("someone", "DNS:app.cluster.local"), ("app.cluster.local",)),
        (("someone", "URI:spiffe://bank/ns/app"), ("spiffe://bank/ns/app",)),
        (("someone",), ()),
    ],
)
async def test_allowed_name_is_let_in(
    authority: OpensslAuthority,
    port_files: dict[str, str],
    issued: tuple[str, ...],
    names: tuple[str],
) -> None:
    """By common name, DNS name or URI; any certificate of the authority where no names are set."""
    certificate = authority.issue(*issued, file="caller")
    async with mutual(port_files, *names) as app:
        answer = await speak(app, tls=caller(authority, certificate))
        assert answer.startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(
    "issued",
    [
        ("App",),
        ("app.evil.test",),
        ("someone", "DNS:*.cluster.local"),
        ("someone", "email:app@x.test", "IP:10.0.0.1"),
        ("app,CN=other",),
    ],
)
async def test_other_names_are_not_let_in(
    authority: OpensslAuthority, port_files: dict[str, str], issued: tuple[str, ...]
) -> None:
    """403 for a certificate of the authority with another name, wildcards and lookalikes too."""
    certificate = authority.issue(*issued, file="caller")
    async with mutual(port_files, "app", "app.cluster.local") as app:
        answer = await speak(app, tls=caller(authority, certificate))
        assert answer.startswith(b"HTTP/1.1 403")
        assert b"caller-certificate" in answer


async def test_strangers_get_no_word_in(
    authority: OpensslAuthority, port_files: dict[str, str], tmp_path: Path
) -> None:
    """Without a certificate, or with another authority's, TLS ends before a request is read."""
    stranger = OpensslAuthority.make(tmp_path, "stranger").issue("app", file="caller")
    async with mutual(port_files, "app") as app:
        for certificate in (None, stranger):
            with pytest.raises((OSError, AssertionError)):
                assert await speak(app, tls=caller(authority, certificate))
        assert app.pool.opened_count == 0
        certificate = authority.issue("app", file="caller")
        assert (await speak(app, tls=caller(authority, certificate))).startswith(b"HTTP/1.1 200")


async def test_plain_http_on_a_tls_port(
    authority: OpensslAuthority, port_files: dict[str, str]
) -> None:
    """A caller that forgets the s gets no answer in the clear, and no token is spent on it."""
    async with mutual(port_files) as app:
        reader, writer = await asyncio.open_connection("127.0.0.1", app.data_address.port)
        writer.write(b"GET /echo HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"HTTP/1.1 200" not in await reader.read()
        writer.close()
        assert app.pool.opened_count == 0


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1")  # deprecated, which is the point
async def test_old_tls_is_not_spoken(
    authority: OpensslAuthority, port_files: dict[str, str]
) -> None:
    """Not even with a caller that knows nothing newer than TLS 1.1."""
    context = caller(authority, authority.issue("app", file="caller"))
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    async with mutual(port_files) as app:
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await speak(app, tls=context)


async def test_secret_and_certificate_are_both_asked_for(
    authority: OpensslAuthority, port_files: dict[str, str], tmp_path: Path
) -> None:
    """Where an operator sets both, one alone is not enough."""
    write(tmp_path / "secret", "shared")
    tls = caller(authority, authority.issue("app", file="caller"))
    async with (
        Sandbox() as bank,
        running(
            bank,
            listen=EVERYWHERE,
            callers={
                **port_files,
                "client_names": "app",
                "secret_files": str(tmp_path / "secret"),
            },
        ) as app,
    ):
        assert (await speak(app, tls=tls)).startswith(b"HTTP/1.1 403")
        assert (await speak(app, bearer(b"shared"), tls=tls)).startswith(b"HTTP/1.1 200")


def test_names_in_a_certificate() -> None:
    """Common name, DNS, URI and mail; addresses and parts of the name are none."""
    certificate = {
        "subject": ((("countryName", "XY"),), (("commonName", "app"),)),
        "subjectAltName": (("DNS", "a.test"), ("IP Address", "10.0.0.1"), ("URI", "spiffe://x")),
    }
    assert subject_names(certificate) == {"app", "a.test", "spiffe://x"}
    assert subject_names({}) == set()


@pytest.mark.parametrize("setting", ["certificate_file", "key_file", "client_ca_file"])
def test_unusable_file_is_named(
    authority: OpensslAuthority, port_files: dict[str, str], tmp_path: Path, setting: str
) -> None:
    """A file that is missing, or holds something else, is a mistake with its setting's name."""
    for content in (None, "nonsense", authority.file.read_text()[:200]):
        file = tmp_path / "file"
        file.unlink(missing_ok=True)
        if content is not None:
            write(file, content)
        with pytest.raises(ConfigError) as caught:
            server_context(SETTINGS.validate_python({**port_files, setting: str(file)}))
        assert caught.value.errors[0].startswith("callers.cert" if "key" in setting else "callers.")


def test_key_with_a_password_is_not_waited_for(
    authority: OpensslAuthority, port_files: dict[str, str], tmp_path: Path
) -> None:
    """OpenSSL would ask for it on the terminal; here it is a mistake to tell."""
    key = tmp_path / "locked.key"
    command = ["openssl", "ec", "-in", str(authority.key), "-aes256", "-passout", "pass:word"]
    subprocess.run([*command, "-out", str(key)], check=True, capture_output=True)
    with pytest.raises(ConfigError, match=r"callers\.certificate_file: cannot be used"):
        server_context(
            SETTINGS.validate_python(
                {**port_files, "certificate_file": str(authority.file), "key_file": str(key)}
            )
        )
    with pytest.raises(ConfigError, match=r"upstream\.certificate_file: cannot be used"):
        client_context(None, authority.file, key)


# A browser on the same machine.


@pytest.mark.parametrize("shown", [b"cross-site", b"Cross-Site"])
async def test_web_page_of_another_site_is_refused(shown: bytes) -> None:
    """A browser lets any page send to loopback, blindly; it says so, and nothing comes of it."""
    async with Sandbox() as bank, running(bank) as app:
        answer = await speak(app, b"Sec-Fetch-Site: " + shown, b"Origin: https://evil.test")
        assert answer.startswith(b"HTTP/1.1 403")
        assert b"urn:candescent-proxy:error:cross-site" in answer
        assert len(bank.bank.arrivals) == 0


@pytest.mark.parametrize("shown", [b"same-origin", b"none"])
async def test_other_words_of_a_browser_pass(shown: bytes) -> None:
    """An application that passes its own browser's headers on is not disturbed."""
    async with Sandbox() as bank, running(bank) as app:
        assert (await speak(app, b"Sec-Fetch-Site: " + shown)).startswith(b"HTTP/1.1 200")
        assert bank.bank.arrivals[0].header("sec-fetch-site") == shown.decode()


# What is refused at the start.


@pytest.mark.parametrize("listen", ["0.0.0.0:1", "[::]:1", "10.1.2.3:1", "proxy.test:1"])
def test_other_machines_are_refused_unless_asked_who_they_are(listen: str) -> None:
    """A bind beyond loopback needs authentication, or the operator's own word."""
    with pytest.raises(ConfigError, match=r"other machines can reach"):
        load(listen=listen)
    for allowing in (
        {"trust_network": "true"},
        {"callers": {"secret_files": "/x"}},
        {"callers": {"certificate_file": "/x", "client_ca_file": "/y"}},
    ):
        assert str(load(listen=listen, **allowing).listen) == listen


@pytest.mark.parametrize(
    "listen", ["127.0.0.1:1", "127.8.9.10:1", "[::1]:1", "localhost:1", "unix:/x"]
)
def test_loopback_needs_nothing_more(listen: str) -> None:
    """Whoever is on this machine, or may open the socket, may call."""
    assert str(load(listen=listen).listen) == listen


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"callers": {"certificate_file": "/x"}, "listen": "0.0.0.0:1"}, "are not authenticated"),
        ({"callers": {"client_ca_file": "/x"}}, "needs callers.certificate_file"),
        ({"callers": {"client_names": "app"}}, "needs callers.client_ca_file"),
        ({"callers": {"key_file": "/x"}}, "callers.key_file: needs callers.certificate_file"),
        ({"callers": {"certificate_file": "/x"}, "listen": "unix:/y"}, "has no TLS"),
        ({"callers": {"socket_mode": "rw"}}, "callers.socket_mode"),
        ({"admin": "0.0.0.0:1", "admin_actions": "true"}, "admin_actions is true"),
    ],
)
def test_half_a_protection_is_a_mistake(wrong: dict[str, Any], why: str) -> None:
    """Settings that look like protection and are none are refused, with what is missing."""
    with pytest.raises(ConfigError) as caught:
        load(**wrong)
    assert any(why in mistake for mistake in caught.value.errors), caught.value.errors


def load(**flags: Any) -> Any:
    """Return a configuration with these settings."""
    return loader.load(
        None, {}, {**CLIENT, "base_url": "https://x", "institution_id": "1", **flags}
    )


# A Unix socket.


@pytest.mark.parametrize("mode", ["600", "660", "0666"])
async def test_unix_socket_has_its_mode(tmp_path: Path, mode: str) -> None:
    """Requests go through it, and its file mode is the one that is set."""
    path = tmp_path / "proxy.sock"
    async with (
        Sandbox() as bank,
        running(bank, listen=f"unix:{path}", callers={"socket_mode": mode}) as app,
    ):
        assert (await speak(app)).startswith(b"HTTP/1.1 200")
        assert permissions(path) == int(mode, 8)
        assert str(app.data_address) == f"unix:{path}"


def permissions(path: Path) -> int:
    """Return the permission bits of a file."""
    return stat.S_IMODE(path.stat().st_mode)


async def test_admin_socket_is_its_owners(tmp_path: Path) -> None:
    """The admin port on a Unix socket answers, and only its owner may open it."""
    path = tmp_path / "admin.sock"
    async with Sandbox() as bank, running(bank, admin=f"unix:{path}"):
        assert permissions(path) == 0o600
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert (await reader.read()).startswith(b"HTTP/1.1 200")
        writer.close()


async def test_unix_socket_that_a_killed_process_left(tmp_path: Path) -> None:
    """A socket file without a listener is no obstacle; one under a missing directory is told."""
    path = tmp_path / "proxy.sock"
    async with Sandbox() as bank:
        for _ in range(2):
            async with running(bank, listen=f"unix:{path}") as app:
                assert (await speak(app)).startswith(b"HTTP/1.1 200")
        with pytest.raises(ConfigError, match="cannot listen on unix:"):
            async with running(bank, listen=f"unix:{tmp_path}/missing/proxy.sock"):
                pass


async def test_refusals_are_counted_and_written(tmp_path: Path) -> None:
    """An operator sees that strangers knock, and from no line what they have shown."""
    write(tmp_path / "secret", CLIENT["client_secret"])
    write(tmp_path / "shared", "shared-secret")
    async with proxy_fixture(
        tmp_path / "proxy.yaml",
        client_secret_file=str(tmp_path / "secret"),
        callers={"secret_files": [str(tmp_path / "shared")]},
    ) as fixture:
        await speak(fixture.app, bearer(b"guess-number-one"))
        await until(lambda: fixture.log.lines("request"))
        line = fixture.log.lines("request")[0]
        assert (line["status"], line["reason"], line["error_source"]) == (
            403,
            "caller-secret",
            "caller",
        )
        assert "guess" not in fixture.log.getvalue()
