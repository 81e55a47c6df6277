"""Caller authentication: shared secrets, client certificates, Unix sockets and loopback."""

import asyncio
import base64
import ssl
import stat
import subprocess
from collections.abc import AsyncIterator, Callable
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
)
from proxy.forwarding.caller_settings import CallerSettings
from proxy.runtime.app import App
from proxy.sandbox import Sandbox
from proxy.server.caller import NO_CALLER
from proxy.upstream.tls import client_context
from tests.support.captured_log import captured_log
from tests.support.certificates import OpensslAuthority
from tests.support.mounted_files import MountedSecret, write
from tests.support.proxy_fixture import ProxyFixture, proxy_fixture, sample, sample_in
from tests.support.running import CLIENT, DEADLINE, running, until

SETTINGS = TypeAdapter(CallerSettings)

EVERYWHERE = "0.0.0.0:0"


async def send(app: App, *headers: bytes, tls: ssl.SSLContext | None = None) -> bytes:
    """Send a request with these header lines on a new connection; return the response."""
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
    """A proxy on every address, with two shared secrets."""
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
async def test_either_secret_is_accepted(guarded: App, header: bytes) -> None:
    """As a Bearer token or Basic password; the header is not forwarded."""
    response = await send(guarded, header)
    assert response.startswith(b"HTTP/1.1 200")
    assert b"proxy-authorization" not in response.lower()
    assert b"secret-of" not in response


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
async def test_other_callers_are_refused(guarded: App, case: str) -> None:
    """The 403 says what to send and quotes nothing; nothing reaches the bank."""
    response = await send(guarded, *HOSTILE[case])
    assert response.startswith(b"HTTP/1.1 403")
    assert b"Proxy-Authorization" in response
    assert b"x-proxy-error-source: caller" in response
    assert b"secret-of" not in response
    assert guarded.forwarder.in_flight == 0
    assert guarded.pool.opened_count == 0


async def test_refused_body_is_not_read(guarded: App) -> None:
    """The connection ends with the refusal."""
    reader, writer = await asyncio.open_connection("127.0.0.1", guarded.data_address.port)
    writer.write(b"POST /upload HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\n")
    response = await asyncio.wait_for(reader.read(), DEADLINE)
    assert response.startswith(b"HTTP/1.1 403")
    assert b"Connection: close" in response
    writer.close()


async def test_rotation_of_the_shared_secret(tmp_path: Path) -> None:
    """Both secrets are valid while both are configured; a removed one is not."""
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
    return int((await send(fixture.app, bearer(secret)))[9:12])


@given(st.binary(max_size=40))
def test_any_header_value_is_parsed_safely(value: bytes) -> None:
    """No value raises an error or matches a secret by accident."""
    assert secret_in(value) != b"the-secret"
    admission = CallerAuthentication(secrets=(b"the-secret",))
    with pytest.raises(CallerError) as refused:
        admission.check([(b"Proxy-Authorization", value)], NO_CALLER)
    assert refused.value.kind.status == 403


@given(st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1))
def test_any_secret_can_be_sent(secret: str) -> None:
    """Every secret works as Bearer and Basic, colons included."""
    known = secret.encode()
    admission = CallerAuthentication(secrets=(b"another", known))
    for value in (b"Bearer " + known, b"Basic " + base64.b64encode(b"me:" + known)):
        admission.check([(b"Proxy-Authorization", value)], NO_CALLER)


def test_secrets_do_not_appear() -> None:
    """Neither the repr nor the refusal contains a secret."""
    admission = CallerAuthentication(secrets=(b"the-secret",), allowed_names=frozenset({"app"}))
    assert "the-secret" not in repr(admission)


# Client certificates.


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> OpensslAuthority:
    """The authority of the port's and the callers' certificates."""
    return OpensslAuthority.make(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def port_files(authority: OpensslAuthority) -> dict[str, str]:
    """Settings for a port that requires a client certificate of the authority."""
    return {
        "certificate_file": str(authority.issue("port", "IP:127.0.0.1", file="port")),
        "client_ca_file": str(authority.file),
    }


def caller(authority: OpensslAuthority, certificate: Path | None = None) -> ssl.SSLContext:
    """Return a caller's TLS context."""
    context = ssl.create_default_context(cafile=authority.file)
    if certificate is not None:
        context.load_cert_chain(certificate)
    return context


@asynccontextmanager
async def mutual(port_files: dict[str, str], *names: str, **settings: Any) -> AsyncIterator[App]:
    """A proxy that requires a client certificate, with one of ``names`` if given."""
    callers: dict[str, Any] = {**port_files}
    if names:
        callers["client_names"] = list(names)
    settings |= {"listen": EVERYWHERE, "callers": callers}
    async with Sandbox() as bank, running(bank, **settings) as app:
        yield app


@pytest.mark.parametrize(
    ("issued", "names"),
    [
        (("app",), ("app",)),
        (("app",), ("other", "app")),
        (("someone", "DNS:app.cluster.local"), ("app.cluster.local",)),
        (("someone", "URI:spiffe://bank/ns/app"), ("spiffe://bank/ns/app",)),
        (("app", "DNS:a.test", "DNS:b.test"), ("b.test", "a.test")),
        (("app/CN=other",), ("app", "other")),
        (("someone",), ()),
    ],
)
async def test_allowed_name_is_accepted(
    authority: OpensslAuthority,
    port_files: dict[str, str],
    issued: tuple[str, ...],
    names: tuple[str],
) -> None:
    """Common name, DNS name or URI match; without names any certificate of the authority does."""
    certificate = authority.issue(*issued, file="caller")
    async with mutual(port_files, *names) as app:
        response = await send(app, tls=caller(authority, certificate))
        assert response.startswith(b"HTTP/1.1 200")


async def test_certificate_name_is_logged_and_counted(
    authority: OpensslAuthority, port_files: dict[str, str]
) -> None:
    """An allowed one as a metric's label too; a refused one only in the log."""
    good = authority.issue("someone", "DNS:payroll.test", file="caller")
    bad = authority.issue("someone", "DNS:x.test", file="stranger")
    with captured_log() as log:
        async with mutual(port_files, "payroll.test", log={"access": "on"}) as app:
            for certificate in (good, bad):
                await send(app, tls=caller(authority, certificate))
            text = app.metrics.exposition("")[0].decode()
        names = [line["caller"] for line in log.lines("request")]
    assert names == ["payroll.test", "x.test"]
    name = "candescent_proxy_listener_requests_total"
    assert sample_in(text, name, {"application": "payroll.test", "status_class": "2xx"}) == 1
    assert sample_in(text, name, {"application": "none", "status_class": "4xx"}) == 1
    assert "x.test" not in text


@pytest.mark.parametrize(
    "issued",
    [
        ("App",),
        ("app.evil.test",),
        ("someone", "DNS:*.cluster.local"),
        ("someone", "email:app@x.test", "IP:10.0.0.1"),
        ("app,CN=other",),
        ("app/CN=other",),
        ("app", "IP:10.0.0.1"),
        ("app", "DNS:other"),
        ("app", "DNS:app.cluster.local", "DNS:other"),
        ("other", "DNS:app.cluster.local", "URI:spiffe://other"),
    ],
)
async def test_other_names_are_refused(
    authority: OpensslAuthority, port_files: dict[str, str], issued: tuple[str, ...]
) -> None:
    """Other names get a 403, wildcards and similar names included."""
    certificate = authority.issue(*issued, file="caller")
    async with mutual(port_files, "app", "app.cluster.local") as app:
        response = await send(app, tls=caller(authority, certificate))
        assert response.startswith(b"HTTP/1.1 403")
        assert b"caller-certificate" in response


@pytest.mark.parametrize(
    ("show", "reason", "words"),
    [
        ("nothing", "no_certificate", "show no client certificate"),
        ("a stranger's", "certificate", "unable to get local issuer certificate"),
        ("an expired one", "certificate", "certificate has expired"),
        ("self-signed", "certificate", "self-signed certificate"),
    ],
)
async def test_unknown_certificate_fails_the_handshake(
    authority: OpensslAuthority,
    port_files: dict[str, str],
    tmp_path: Path,
    show: str,
    reason: str,
    words: str,
) -> None:
    """Without a valid certificate of the authority no request is read; log and metric say why."""
    certificates: dict[str, Callable[[], Path | None]] = {
        "nothing": lambda: None,
        "a stranger's": lambda: OpensslAuthority.make(tmp_path, "stranger").issue("app"),
        "an expired one": lambda: authority.issue("app", days="-1", file="expired"),
        "self-signed": lambda: _joined(OpensslAuthority.make(tmp_path, "own")),
    }
    with captured_log() as log:
        async with mutual(port_files, "app") as app:
            for _ in range(2):
                with pytest.raises((OSError, AssertionError)):
                    assert await send(app, tls=caller(authority, certificates[show]()))
            await until(lambda: refused_connections(app, reason) == 2)
            assert app.pool.opened_count == 0
            certificate = authority.issue("app", file="caller")
            assert (await send(app, tls=caller(authority, certificate))).startswith(b"HTTP/1.1 200")
    assert log.getvalue().count(words) == 1  # once a minute


def _joined(authority: OpensslAuthority) -> Path:
    """Return a PEM file with an authority's own certificate and key."""
    file = authority.folder / "joined.pem"
    file.write_bytes(authority.file.read_bytes() + authority.key.read_bytes())
    return file


def refused_connections(app: App, reason: str) -> float:
    """Return how many connections were refused for a reason."""
    return sample(app, "candescent_proxy_caller_connections_refused_total", reason=reason)


@pytest.mark.parametrize("method", ["GET", "OPTIONS", "PRI"])
async def test_plain_http_on_a_tls_port_gets_an_error(
    authority: OpensslAuthority, port_files: dict[str, str], method: str
) -> None:
    """It is read nothing of, and gets a 400 in plain HTTP."""
    async with mutual(port_files) as app:
        reader, writer = await asyncio.open_connection("127.0.0.1", app.data_address.port)
        writer.write(f"{method} /echo HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        response = await reader.read()
        writer.close()
        assert response.startswith(b"HTTP/1.1 400 ")
        assert b":http-on-tls" in response
        assert b"https://" in response
        assert refused_connections(app, "plain_http") == 1
        assert sample(app, "candescent_proxy_errors_total", reason="http-on-tls") == 1
        assert app.pool.opened_count == 0


@pytest.mark.parametrize("data", [b"\x16\x03\x01\x00\x05hello", b"ssh-2.0\r\n", bytes(30)])
async def test_other_bytes_on_a_tls_port_are_a_failed_handshake(
    authority: OpensslAuthority, port_files: dict[str, str], data: bytes
) -> None:
    """What is neither TLS nor HTTP gets no HTTP response."""
    async with mutual(port_files) as app:
        reader, writer = await asyncio.open_connection("127.0.0.1", app.data_address.port)
        writer.write(data)
        writer.write_eof()
        assert b"HTTP" not in await reader.read()
        writer.close()
        await until(lambda: refused_connections(app, "handshake") == 1)


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1")  # deprecated, as intended here
async def test_old_tls_is_refused(authority: OpensslAuthority, port_files: dict[str, str]) -> None:
    """TLS 1.1 and older fail the handshake, and are counted."""
    context = caller(authority, authority.issue("app", file="caller"))
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    async with mutual(port_files) as app:
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await send(app, tls=context)
        await until(lambda: refused_connections(app, "tls_version") == 1)


async def test_secret_and_certificate_are_both_required(
    authority: OpensslAuthority, port_files: dict[str, str], tmp_path: Path
) -> None:
    """Where both are configured, one is not enough."""
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
        assert (await send(app, tls=tls)).startswith(b"HTTP/1.1 403")
        assert (await send(app, bearer(b"shared"), tls=tls)).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("setting", ["certificate_file", "key_file", "client_ca_file"])
def test_unusable_file_is_a_configuration_error(
    authority: OpensslAuthority, port_files: dict[str, str], tmp_path: Path, setting: str
) -> None:
    """The error of a missing or invalid file names its setting."""
    for content in (None, "nonsense", authority.file.read_text()[:200]):
        file = tmp_path / "file"
        file.unlink(missing_ok=True)
        if content is not None:
            write(file, content)
        with pytest.raises(ConfigError) as caught:
            server_context(SETTINGS.validate_python({**port_files, setting: str(file)}))
        assert caught.value.errors[0].startswith("callers.cert" if "key" in setting else "callers.")


def test_encrypted_key_is_a_configuration_error(
    authority: OpensslAuthority, port_files: dict[str, str], tmp_path: Path
) -> None:
    """OpenSSL must not prompt for the password."""
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


# Browsers on the same machine.


@pytest.mark.parametrize("shown", [b"cross-site", b"Cross-Site"])
async def test_cross_site_page_is_refused(shown: bytes) -> None:
    """A cross-site request of a browser is refused by its Sec-Fetch-Site or Origin field."""
    async with Sandbox() as bank, running(bank) as app:
        response = await send(app, b"Sec-Fetch-Site: " + shown, b"Origin: https://evil.test")
        assert response.startswith(b"HTTP/1.1 403")
        assert b"urn:candescent-proxy:error:cross-site" in response
        assert len(bank.bank.arrivals) == 0


@pytest.mark.parametrize("shown", [b"same-origin", b"none"])
async def test_harmless_browser_headers_pass(shown: bytes) -> None:
    """An application may forward its own browser's headers."""
    async with Sandbox() as bank, running(bank) as app:
        assert (await send(app, b"Sec-Fetch-Site: " + shown)).startswith(b"HTTP/1.1 200")
        assert bank.bank.arrivals[0].header("sec-fetch-site") == shown.decode()


# Refused at start.


@pytest.mark.parametrize("listen", ["0.0.0.0:1", "[::]:1", "10.1.2.3:1", "proxy.test:1"])
def test_public_address_requires_authentication(listen: str) -> None:
    """Listening beyond loopback needs authentication or explicit permission."""
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
def test_loopback_needs_no_authentication(listen: str) -> None:
    """Loopback addresses and Unix sockets are accepted without authentication."""
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
def test_incomplete_protection_is_a_configuration_error(wrong: dict[str, Any], why: str) -> None:
    """Settings that would protect nothing are refused with what is missing."""
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
async def test_unix_socket_has_the_configured_mode(tmp_path: Path, mode: str) -> None:
    """Requests are served through it, and its file mode is the configured one."""
    path = tmp_path / "proxy.sock"
    async with (
        Sandbox() as bank,
        running(bank, listen=f"unix:{path}", callers={"socket_mode": mode}) as app,
    ):
        assert (await send(app)).startswith(b"HTTP/1.1 200")
        assert permissions(path) == int(mode, 8)
        assert str(app.data_address) == f"unix:{path}"


def permissions(path: Path) -> int:
    """Return the permission bits of a file."""
    return stat.S_IMODE(path.stat().st_mode)


async def test_admin_socket_is_owner_only(tmp_path: Path) -> None:
    """The admin port is served on a Unix socket that only its owner can open."""
    path = tmp_path / "admin.sock"
    async with Sandbox() as bank, running(bank, admin=f"unix:{path}"):
        assert permissions(path) == 0o600
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert (await reader.read()).startswith(b"HTTP/1.1 200")
        writer.close()


async def test_stale_unix_socket_is_replaced(tmp_path: Path) -> None:
    """A socket file without a listener is replaced; a missing directory is an error."""
    path = tmp_path / "proxy.sock"
    async with Sandbox() as bank:
        for _ in range(2):
            async with running(bank, listen=f"unix:{path}") as app:
                assert (await send(app)).startswith(b"HTTP/1.1 200")
        with pytest.raises(ConfigError, match="cannot listen on unix:"):
            async with running(bank, listen=f"unix:{tmp_path}/missing/proxy.sock"):
                pass


async def test_refusals_are_counted_and_logged(tmp_path: Path) -> None:
    """The metric and the log show refusals, without what the callers sent."""
    write(tmp_path / "secret", CLIENT["client_secret"])
    write(tmp_path / "shared", "shared-secret")
    async with proxy_fixture(
        tmp_path / "proxy.yaml",
        client_secret_file=str(tmp_path / "secret"),
        callers={"secret_files": [str(tmp_path / "shared")]},
    ) as fixture:
        await send(fixture.app, bearer(b"guess-number-one"))
        await until(lambda: fixture.log.lines("request"))
        line = fixture.log.lines("request")[0]
        assert (line["status"], line["reason"], line["error_source"]) == (
            403,
            "caller-secret",
            "caller",
        )
        assert "guess" not in fixture.log.getvalue()
