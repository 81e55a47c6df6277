"""TLS to the upstream, with certificates of a test authority."""

import asyncio
import ssl
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from proxy.errors import ConfigError, UpstreamError, UpstreamFailure, kinds
from proxy.upstream.pool import Pool
from proxy.upstream.tls import UpstreamTls, client_context
from proxy.upstream.upstream_settings import UpstreamSettings
from tests.support import dialing
from tests.support.certificates import OpensslAuthority, server_context
from tests.support.running import until
from tests.support.upstream_server import (
    ScriptedUpstream,
    ScriptStep,
    UpstreamConnection,
    close,
    ok,
    read,
    respond_to_all,
    response_head,
    send,
    sleep,
)

EVERY_LOOP = True

GET = b"GET / HTTP/1.1\r\nHost: bank\r\n\r\n"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> OpensslAuthority:
    """A test authority."""
    return OpensslAuthority.make(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def certificate(authority: OpensslAuthority) -> Path:
    """A valid certificate for the tests' servers."""
    return authority.issue("bank", "IP:127.0.0.1")


def make_pool(port: int, context: ssl.SSLContext, host: str = "127.0.0.1") -> Pool:
    """Make a pool that speaks TLS."""
    return dialing.make_pool(host, port, context, connect_timeout=2)


async def ask(pool: Pool) -> bytes:
    """Run one exchange."""
    connection = pool.checkout() or await pool.connect()
    try:
        connection.start(GET, bodiless=False, total_at=asyncio.get_running_loop().time() + 10)
        await connection.wait_for_head()
        body = b""
        while block := await connection.read():
            body += block
        return body
    finally:
        pool.release(connection)


async def refusal(
    certificate: Path, authority: OpensslAuthority, reason: UpstreamFailure, host: str = "127.0.0.1"
) -> str:
    """Connect to a server that must not be trusted; return the error for the caller."""
    async with ScriptedUpstream(respond_to_all(), tls=server_context(certificate)) as upstream:
        pool = make_pool(upstream.port, client_context(authority.file), host)
        with pytest.raises(UpstreamError) as caught:
            await pool.connect()
        assert caught.value.reason is reason
        assert pool.open_count == 0
        await until(lambda: upstream.open == 0)
        assert upstream.requests == []
        return caught.value.detail


async def test_good_certificate_is_accepted(authority: OpensslAuthority, certificate: Path) -> None:
    """Requests are sent and the connection is reused."""
    async with ScriptedUpstream(respond_to_all(), tls=server_context(certificate)) as upstream:
        pool = make_pool(upstream.port, client_context(authority.file))
        assert [await ask(pool) for _ in range(3)] == [b"yes"] * 3
        assert upstream.connections == 1
        (connection,) = pool._idle
        assert connection._transport is not None
        assert connection._transport.get_extra_info("ssl_object").version() == "TLSv1.3"
        pool.close()
        await until(lambda: upstream.open == 0)


async def test_renewed_certificate_is_accepted(
    authority: OpensslAuthority, certificate: Path
) -> None:
    """A server may return with another certificate of the same authority."""
    context = client_context(authority.file)
    async with ScriptedUpstream(respond_to_all(), tls=server_context(certificate)) as before:
        pool = make_pool(before.port, context)
        assert await ask(pool) == b"yes"
    successor = ScriptedUpstream(
        respond_to_all(b"again"),
        tls=server_context(authority.issue("bank", "IP:127.0.0.1", file="successor")),
    )
    successor.port = before.port
    async with successor:
        await until(lambda: not pool._idle[0].is_alive())
        assert await ask(pool) == b"again"
        pool.close()
        await until(lambda: successor.open == 0)


async def test_expired_certificate_is_refused(authority: OpensslAuthority) -> None:
    """The error names the cause."""
    expired = authority.issue("bank", "IP:127.0.0.1", days="-1", file="expired")
    assert "expired" in await refusal(expired, authority, kinds.UPSTREAM_TLS_EXPIRED)


async def test_certificate_for_another_name_is_refused(authority: OpensslAuthority) -> None:
    """The error names the cause."""
    other = authority.issue("bank", "DNS:elsewhere.test", "IP:127.0.0.9", file="other")
    assert "127.0.0.1" in await refusal(other, authority, kinds.UPSTREAM_TLS_NAME)
    assert "localhost" in await refusal(other, authority, kinds.UPSTREAM_TLS_NAME, "localhost")


async def test_common_name_is_not_used(authority: OpensslAuthority) -> None:
    """A certificate without subjectAltName matches no name (RFC 9110 section 4.3.4)."""
    common = authority.issue("localhost", file="common")
    assert "mismatch" in await refusal(common, authority, kinds.UPSTREAM_TLS_NAME, "localhost")


async def test_unknown_authority_is_refused(
    authority: OpensslAuthority, certificate: Path, tmp_path: Path
) -> None:
    """The error names the cause."""
    stranger = OpensslAuthority.make(tmp_path, "stranger")
    detail = await refusal(certificate, stranger, kinds.UPSTREAM_TLS_UNTRUSTED)
    assert "unable to get local issuer" in detail


async def test_self_signed_certificate_is_refused(
    authority: OpensslAuthority, tmp_path: Path
) -> None:
    """The error names the cause."""
    own = OpensslAuthority.make(tmp_path, "own")
    both = tmp_path / "both.pem"
    both.write_bytes(own.file.read_bytes() + own.key.read_bytes())
    assert "self-signed" in await refusal(both, authority, kinds.UPSTREAM_TLS_SELF_SIGNED)


@pytest.mark.parametrize(
    ("script", "reasons"),
    [
        ([send(b"HTTP/1.1 400 Bad Request\r\n\r\n"), close()], {kinds.UPSTREAM_TLS_PLAIN_HTTP}),
        ([close()], {kinds.UPSTREAM_TLS, kinds.UPSTREAM_UNREACHABLE}),
        ([sleep(30)], {kinds.UPSTREAM_TLS_TIMEOUT}),
    ],
    ids=["plain HTTP", "closes", "says nothing"],
)
async def test_server_without_tls_is_an_error(
    authority: OpensslAuthority, script: Sequence[ScriptStep], reasons: set[UpstreamFailure]
) -> None:
    """The handshake fails, at the latest at the connect deadline."""
    async with ScriptedUpstream(script) as upstream:
        context = client_context(authority.file)
        pool = dialing.make_pool("127.0.0.1", upstream.port, context, connect_timeout=0.3)
        with pytest.raises(UpstreamError) as caught:
            await pool.connect()
        assert caught.value.reason in reasons
        assert pool.open_count == 0


async def test_close_delimited_response_needs_close_notify(
    authority: OpensslAuthority, certificate: Path
) -> None:
    """A plain TCP end is a truncated response.

    Otherwise an attacker could shorten a response.
    """

    async def close_tcp(link: UpstreamConnection) -> None:
        await asyncio.sleep(0.05)
        link.writer.transport.abort()

    script = [read(), send(response_head(b"200 OK"), b"half of it"), close_tcp]
    async with ScriptedUpstream(script, tls=server_context(certificate)) as upstream:
        pool = make_pool(upstream.port, client_context(authority.file))
        with pytest.raises(UpstreamError) as caught:
            await ask(pool)
        assert caught.value.reason is kinds.UPSTREAM_TRUNCATED


async def test_close_delimited_response_with_close_notify(
    authority: OpensslAuthority, certificate: Path
) -> None:
    """It is complete."""
    script = [read(), send(response_head(b"200 OK"), b"all of it"), close()]
    async with ScriptedUpstream(script, tls=server_context(certificate)) as upstream:
        pool = make_pool(upstream.port, client_context(authority.file))
        assert await ask(pool) == b"all of it"
        assert pool.open_count == 0


async def test_large_response_over_tls(authority: OpensslAuthority, certificate: Path) -> None:
    """Flow control works over TLS."""
    size = 8 << 20
    script = [read(), send(ok(b"x" * size)), read(), send(ok(b"next")), sleep(30)]
    async with ScriptedUpstream(script, tls=server_context(certificate)) as upstream:
        pool = make_pool(upstream.port, client_context(authority.file))
        assert len(await ask(pool)) == size
        assert await ask(pool) == b"next"
        assert upstream.connections == 1
        pool.close()


async def test_client_certificate_is_sent(authority: OpensslAuthority, certificate: Path) -> None:
    """An upstream that requires a client certificate gets the configured one."""
    ours = authority.issue("proxy", file="ours")
    context = server_context(certificate)
    context.load_verify_locations(authority.file)
    context.verify_mode = ssl.CERT_REQUIRED
    async with ScriptedUpstream(respond_to_all(), tls=context) as upstream:
        pool = make_pool(upstream.port, client_context(authority.file, ours, None))
        assert await ask(pool) == b"yes"
        pool.close()
        without = make_pool(upstream.port, client_context(authority.file))
        with pytest.raises(UpstreamError):
            await ask(without)
        await until(lambda: upstream.open == 0)


def test_context_trusts_the_system_by_default() -> None:
    """Certificate and name are verified against the system's authorities."""
    context = client_context(None)
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "No such file"), (b"", "wrong content"), (b"nonsense", "wrong content")],
)
def test_unusable_ca_file_is_a_configuration_error(
    tmp_path: Path, content: bytes | None, message: str
) -> None:
    """The error names the setting."""
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        client_context(file)
    (mistake,) = caught.value.errors
    assert mistake.startswith("upstream.ca_file: ")
    assert message in mistake


def test_unusable_certificate_file_is_a_configuration_error(
    authority: OpensslAuthority, tmp_path: Path
) -> None:
    """A certificate without its key is an error too."""
    with pytest.raises(ConfigError) as caught:
        client_context(authority.file, authority.file, None)
    assert caught.value.errors[0].startswith("upstream.certificate_file: ")
    with pytest.raises(ConfigError):
        client_context(authority.file, tmp_path / "none.pem", None)


def test_context_is_shared_while_its_files_are_the_same(tmp_path: Path) -> None:
    """A reload that changes nothing reads no authorities; another content is another context."""
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    first = OpensslAuthority.make(tmp_path / "a").file
    second = OpensslAuthority.make(tmp_path / "b").file
    used = client_context(first)
    assert client_context(first) is used
    assert client_context(second) is not used
    first.write_bytes(second.read_bytes())
    assert client_context(first) is client_context(second)
    system = client_context(None)
    assert client_context(None) is system
    assert client_context(None, system_store=True) is not system


def test_fingerprint_depends_on_the_files(authority: OpensslAuthority, certificate: Path) -> None:
    """It changes with their content and is empty without TLS."""
    files = UpstreamSettings(ca_file=authority.file)
    first = UpstreamTls.load(files, https=True)
    assert first.context is not None
    assert UpstreamTls.load(files, https=True).fingerprint == first.fingerprint
    more = replace(files, certificate_file=certificate)
    assert UpstreamTls.load(more, https=True).fingerprint != first.fingerprint
    assert UpstreamTls.load(files, https=False) == UpstreamTls(None, "")
