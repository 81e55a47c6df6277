"""TLS to the upstream, with real certificates from an authority made for the test."""

import asyncio
import ssl
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from proxy.errors import ConfigError, UpstreamError, UpstreamFailure, kinds
from proxy.upstream.pool import Pool, UpstreamOrigin
from proxy.upstream.tls import UpstreamTls, client_context
from proxy.upstream.upstream_settings import UpstreamSettings
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
    """An authority of our own."""
    return OpensslAuthority.make(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def certificate(authority: OpensslAuthority) -> Path:
    """A good certificate for where the tests' servers listen."""
    return authority.issue("bank", "IP:127.0.0.1")


def make_pool(port: int, context: ssl.SSLContext, host: str = "127.0.0.1") -> Pool:
    """Make a pool that speaks TLS."""
    return Pool(
        UpstreamOrigin(host, port, context),
        UpstreamSettings(connect_timeout=2),
    )


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


async def refused(
    certificate: Path, authority: OpensslAuthority, reason: UpstreamFailure, host: str = "127.0.0.1"
) -> str:
    """Connect to a server that must not be trusted; return what the caller would read."""
    async with ScriptedUpstream(respond_to_all(), tls=server_context(certificate)) as upstream:
        pool = make_pool(upstream.port, client_context(authority.file), host)
        with pytest.raises(UpstreamError) as caught:
            await pool.connect()
        assert caught.value.reason is reason
        assert pool.open_count == 0
        await until(lambda: upstream.open == 0)
        assert upstream.requests == []
        return caught.value.detail


async def test_good_certificate(authority: OpensslAuthority, certificate: Path) -> None:
    """With a trusted certificate of the right name, requests go and connections are reused."""
    async with ScriptedUpstream(respond_to_all(), tls=server_context(certificate)) as upstream:
        pool = make_pool(upstream.port, client_context(authority.file))
        assert [await ask(pool) for _ in range(3)] == [b"yes"] * 3
        assert upstream.connections == 1
        (connection,) = pool._idle
        assert connection._transport is not None
        assert connection._transport.get_extra_info("ssl_object").version() == "TLSv1.3"
        pool.close()
        await until(lambda: upstream.open == 0)


async def test_rotated_certificate(authority: OpensslAuthority, certificate: Path) -> None:
    """A server that comes back with another certificate of the same authority is trusted."""
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


async def test_expired_certificate(authority: OpensslAuthority) -> None:
    """Is refused, and told apart."""
    expired = authority.issue("bank", "IP:127.0.0.1", days="-1", file="expired")
    assert "expired" in await refused(expired, authority, kinds.UPSTREAM_TLS_EXPIRED)


async def test_certificate_for_another_name(authority: OpensslAuthority) -> None:
    """Is refused, and told apart."""
    other = authority.issue("bank", "DNS:elsewhere.test", "IP:127.0.0.9", file="other")
    assert "127.0.0.1" in await refused(other, authority, kinds.UPSTREAM_TLS_NAME)
    assert "localhost" in await refused(other, authority, kinds.UPSTREAM_TLS_NAME, "localhost")


async def test_common_name_is_no_name(authority: OpensslAuthority) -> None:
    """A certificate that says who it is only in its common name says nothing."""
    common = authority.issue("localhost", file="common")
    assert "mismatch" in await refused(common, authority, kinds.UPSTREAM_TLS_NAME, "localhost")


async def test_unknown_authority(
    authority: OpensslAuthority, certificate: Path, tmp_path: Path
) -> None:
    """A certificate of an authority that is not ours is refused, and told apart."""
    stranger = OpensslAuthority.make(tmp_path, "stranger")
    detail = await refused(certificate, stranger, kinds.UPSTREAM_TLS_UNTRUSTED)
    assert "unable to get local issuer" in detail


async def test_self_signed_certificate(authority: OpensslAuthority, tmp_path: Path) -> None:
    """Nobody vouches for oneself."""
    own = OpensslAuthority.make(tmp_path, "own")
    both = tmp_path / "both.pem"
    both.write_bytes(own.file.read_bytes() + own.key.read_bytes())
    assert "self-signed" in await refused(both, authority, kinds.UPSTREAM_TLS_SELF_SIGNED)


@pytest.mark.parametrize(
    ("script", "reasons"),
    [
        ([send(b"HTTP/1.1 400 Bad Request\r\n\r\n"), close()], {kinds.UPSTREAM_TLS_PLAIN_HTTP}),
        ([close()], {kinds.UPSTREAM_TLS, kinds.UPSTREAM_UNREACHABLE}),
        ([sleep(30)], {kinds.UPSTREAM_CONNECT_TIMEOUT}),
    ],
    ids=["plain HTTP", "closes", "says nothing"],
)
async def test_server_that_speaks_no_tls(
    authority: OpensslAuthority, script: Sequence[ScriptStep], reasons: set[UpstreamFailure]
) -> None:
    """The handshake ends in an error, at the latest with the connect deadline."""
    async with ScriptedUpstream(script) as upstream:
        pool = Pool(
            UpstreamOrigin("127.0.0.1", upstream.port, client_context(authority.file)),
            UpstreamSettings(connect_timeout=0.3),
        )
        with pytest.raises(UpstreamError) as caught:
            await pool.connect()
        assert caught.value.reason in reasons
        assert pool.open_count == 0


async def test_answer_cut_by_a_plain_end(authority: OpensslAuthority, certificate: Path) -> None:
    """Where the end of the connection is the end of the body, only TLS's own end counts.

    Otherwise anyone on the way could shorten an answer.
    """

    async def rip(link: UpstreamConnection) -> None:
        await asyncio.sleep(0.05)
        link.writer.transport.abort()

    script = [read(), send(response_head(b"200 OK"), b"half of it"), rip]
    async with ScriptedUpstream(script, tls=server_context(certificate)) as upstream:
        pool = make_pool(upstream.port, client_context(authority.file))
        with pytest.raises(UpstreamError) as caught:
            await ask(pool)
        assert caught.value.reason is kinds.UPSTREAM_TRUNCATED


async def test_answer_ended_by_tls(authority: OpensslAuthority, certificate: Path) -> None:
    """And that one does count."""
    script = [read(), send(response_head(b"200 OK"), b"all of it"), close()]
    async with ScriptedUpstream(script, tls=server_context(certificate)) as upstream:
        pool = make_pool(upstream.port, client_context(authority.file))
        assert await ask(pool) == b"all of it"
        assert pool.open_count == 0


async def test_large_answer_over_tls(authority: OpensslAuthority, certificate: Path) -> None:
    """Back-pressure and TLS get on with each other."""
    size = 8 << 20
    script = [read(), send(ok(b"x" * size)), read(), send(ok(b"next")), sleep(30)]
    async with ScriptedUpstream(script, tls=server_context(certificate)) as upstream:
        pool = make_pool(upstream.port, client_context(authority.file))
        assert len(await ask(pool)) == size
        assert await ask(pool) == b"next"
        assert upstream.connections == 1
        pool.close()


async def test_our_certificate_is_shown(authority: OpensslAuthority, certificate: Path) -> None:
    """An upstream that asks for a client certificate gets the configured one."""
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
    """Without a file, certificate and name are checked against the system's authorities."""
    context = client_context(None)
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2


@pytest.mark.parametrize(
    ("content", "says"), [(None, "No such file"), (b"", "not what"), (b"nonsense", "not what")]
)
def test_ca_file_that_cannot_be_used(tmp_path: Path, content: bytes | None, says: str) -> None:
    """A wrong file is a mistake in the configuration, told by its setting."""
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        client_context(file)
    (mistake,) = caught.value.errors
    assert mistake.startswith("upstream.ca_file: ")
    assert says in mistake


def test_certificate_file_that_cannot_be_used(authority: OpensslAuthority, tmp_path: Path) -> None:
    """So is a certificate without its key."""
    with pytest.raises(ConfigError) as caught:
        client_context(authority.file, authority.file, None)
    assert caught.value.errors[0].startswith("upstream.certificate_file: ")
    with pytest.raises(ConfigError):
        client_context(authority.file, tmp_path / "none.pem", None)


def test_fingerprint_follows_the_files(authority: OpensslAuthority, certificate: Path) -> None:
    """It changes with what is read, and is empty where there is no TLS."""
    files = UpstreamSettings(ca_file=authority.file)
    first = UpstreamTls.load(files, https=True)
    assert first.context is not None
    assert UpstreamTls.load(files, https=True).fingerprint == first.fingerprint
    more = replace(files, certificate_file=certificate)
    assert UpstreamTls.load(more, https=True).fingerprint != first.fingerprint
    assert UpstreamTls.load(files, https=False) == UpstreamTls(None, "")
