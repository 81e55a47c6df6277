"""No secret leaks. Every path is run with known secrets, which are then searched for.

In log lines at debug level, metrics, error responses, /readyz, tracebacks, the repr of every object
reachable from the proxy, and the process's visible data.
"""

import asyncio
import re
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from signal import SIGTERM
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest

from proxy.sandbox import Fault, Sandbox, User, changed
from proxy.tokens.token import TokenKey, TokenKind
from tests.support.captured_log import captured_log
from tests.support.certificates import OpensslAuthority, server_context
from tests.support.connect_proxy import ConnectProxy
from tests.support.mounted_files import write
from tests.support.process import process
from tests.support.proxy_fixture import ProxyFixture, proxy_fixture
from tests.support.running import DEADLINE, running, until
from tests.support.secret_search import SecretSearch, forms, reprs

CLIENT_ID = "sandbox-client"
SECRET = "Mark0ClientSecret0Mark"
PASSWORD = "Mark0Password0Mark"
SHARED = "Mark0SharedSecret0Mark"
WRONG = "Mark0WrongSecret0Mark"
BEARER = "Mark0GivenBearer0Mark"
COMPANY = "Mark0CompanyPassword0Mark"
FROM_CALLER = "Mark0CallersOwnToken0Mark"
IN_QUERY = "Mark0QuerySecret0Mark"
IN_BODY = "Mark0BodySecret0Mark"
IN_HEADER = "Mark0HostileHeader0Mark"
FROM_BANK = "Mark0BanksAnswer0Mark"


@pytest.fixture
def search() -> SecretSearch:
    """A search that knows every secret."""
    search = SecretSearch()
    for name, text in list(globals().items()):
        if isinstance(text, str) and text.startswith("Mark0"):
            search.secret(name, text)
    return search


@asynccontextmanager
async def watched(
    search: SecretSearch,
    tmp_path: Path,
    bank: Sandbox | None = None,
    *,
    ready: bool = True,
    **more: Any,
) -> AsyncIterator[ProxyFixture]:
    """A proxy with secrets in files; at its end all visible data is collected."""
    write(tmp_path / "secret", SECRET)
    if bank is None:
        async with Sandbox() as own, watched(search, tmp_path, own, ready=ready, **more) as fixture:
            yield fixture
        return
    people = (User("juniper", PASSWORD, "juniper.quill", "880017"),)
    settings = changed(bank.bank.settings, {"clients": {CLIENT_ID: SECRET}})
    bank.bank.settings = settings.__class__(**{**vars(settings), "users": people})
    login = {"client_secret_file": str(tmp_path / "secret"), "admin_actions": "true"}
    async with proxy_fixture(
        tmp_path / "proxy.yaml", bank, ready=ready, **{**login, **more}
    ) as fixture:
        yield fixture
        await collect(search, fixture)
    for token in bank.bank.tokens.values():
        search.secret("a token of the bank", token.text)
    search.add("the log", fixture.log.getvalue())


async def collect(search: SecretSearch, fixture: ProxyFixture) -> None:
    """Collect all visible data of a running proxy."""
    for accept in ("", "application/openmetrics-text"):
        search.add("metrics", fixture.app.metrics.exposition(accept)[0])
    for path in ("/readyz", "/livez", "/metrics", "/api/status", "/", "/nothing"):
        search.add(path, str(await fixture.admin(path)))
    for kind, text in reprs(fixture.app):
        search.add(f"the repr of {kind}", text)


async def send(search: SecretSearch, fixture: ProxyFixture, *parts: bytes) -> bytes:
    """Send bytes on a new connection; collect the proxy's own responses."""
    address = fixture.app.data_address
    reader, writer = await asyncio.open_connection(address.host, address.port)
    writer.write(b"".join(parts))
    try:
        async with asyncio.timeout(DEADLINE):
            response = await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.close()
    if b"x-proxy-error-source" in response:
        search.add("an error answer", response)
    return response


def request(*lines: str, method: str = "GET", target: str = "/echo", body: str = "") -> bytes:
    """Return a request with secrets of the caller in every place."""
    head = [
        f"{method} {target}?token={IN_QUERY} HTTP/1.1",
        "Host: x",
        "Connection: close",
        f"Authorization: Bearer {FROM_CALLER}",
        f"Cookie: session={FROM_CALLER}",
        f"X-Api-Key: {IN_HEADER}",
        *lines,
    ]
    if body:
        head.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*head, "", body]).encode("latin-1")


async def test_good_requests(search: SecretSearch, tmp_path: Path) -> None:
    """V2 and V1, with bodies, on reused connections, and all kinds of refreshes."""
    async with watched(search, tmp_path) as fixture:
        for target in ("/echo", "/subscriptions/v1/fis/00016/echo", "/v1/accounts"):
            assert b" 200 " in await send(search, fixture, request(target=target))
            posted = request(target="/echo", method="POST", body=IN_BODY)
            assert b" 200 " in await send(search, fixture, posted)
        for entry in fixture.app.tokens.entries():
            fixture.app.tokens.start_refresh(entry)
            await until(lambda entry=entry: entry.fetch is None)  # type: ignore[misc]
        arrived = fixture.bank.bank.arrivals[1]
        assert IN_QUERY in arrived.target
        assert IN_BODY.encode() in fixture.bank.bank.arrivals[1].body
        assert any(IN_HEADER.encode() == value for _, value in arrived.headers)
    assert search.leaks() == []


async def test_requests_in_flight(search: SecretSearch, tmp_path: Path) -> None:
    """No repr shows a secret while requests and token calls run."""
    async with watched(
        search,
        tmp_path,
        allowed_institutions=["00017"],
        upstream={"max_connections": "3"},
        replay={"paths": ["/echo/**"], "max_body": "1000"},
    ) as fixture:
        fixture.bank.bank.faults.append(Fault("token", institution="00017", hang=True))
        fixture.bank.bank.faults.append(Fault("resource", path_prefix="/echo/slow", hang=True))
        half = request(f"Content-Length: {len(IN_BODY) + 5}", method="POST", target="/upload")
        streamed = request("Transfer-Encoding: chunked", method="POST", target="/upload")
        address = fixture.app.data_address
        writers = []
        for sent in (
            half + IN_BODY.encode(),
            request(method="POST", target="/echo/slow", body=IN_BODY),
            streamed + b"%x\r\n%b\r\n" % (len(IN_BODY), IN_BODY.encode()),
            request(target="/echo/slow"),
            request("institutionId: 00017"),
            b"GET /" + IN_QUERY.encode(),
        ):
            _, writer = await asyncio.open_connection(address.host, address.port)
            writer.write(sent)
            writers.append(writer)
        await until(lambda: fixture.app.forwarder.in_flight == 5)
        await until(lambda: fixture.app.pool.open_count == 3)
        await collect(search, fixture)
        for writer in writers:
            writer.transport.abort()
        await until(lambda: not fixture.app.forwarder.in_flight)
    assert search.leaks() == []


TOKEN_FAULTS: dict[str, dict[str, Any]] = {
    "refused with our secret in the message": {
        "shape": b'{"code": "CMN_90004", "message": "%s is wrong"}' % SECRET.encode(),
        "status": 401,
    },
    "our secret as the code": {"shape": b'{"code": "%s"}' % SECRET.encode(), "status": 400},
    "a token that no header may hold": {"token_text": f"{FROM_BANK}\r\nX: {FROM_BANK}"},
    "a lifetime that is none": {"expires_in": FROM_BANK},
    "a dead token": {"expires_in": "0"},
    "JSON that breaks off": {"shape": b'{"access_token": "%s' % FROM_BANK.encode()},
    "a web page": {"shape": f"<html>{FROM_BANK}</html>".encode()},
    "a bomb": {"shape": "bomb"},
    "no HTTP": {"wire": b"%s\r\n\r\n" % FROM_BANK.encode()},
    "a broken header": {"wire": b"HTTP/1.1 200 OK\r\n%s\0: x\r\n\r\n" % FROM_BANK.encode()},
    "a cut answer": {"cut": True},
    "a reset": {"reset": True},
    "silence": {"hang": True},
    "a redirect": {"status": 302, "headers": {"Location": f"http://evil.test/{FROM_BANK}"}},
    "throttled": {"code": "CMN_90002", "headers": {"Retry-After": FROM_BANK}},
}


@pytest.mark.parametrize("fault", TOKEN_FAULTS)
async def test_faulty_token_endpoint(search: SecretSearch, tmp_path: Path, fault: str) -> None:
    """Neither its responses nor the credentials leak."""
    async with Sandbox() as bank:
        bank.bank.faults.append(Fault("token", **TOKEN_FAULTS[fault]))
        async with watched(
            search,
            tmp_path,
            bank,
            ready=False,
            token={"timeout": "0.3", "backoff_initial": "0.1"},
        ) as fixture:
            await until(lambda: fixture.log.lines("token refresh failed") or
            fixture.app.tokens.current(
                TokenKey(TokenKind.V2, "00016")
            ))  # fmt: skip
            await send(search, fixture, request())
    assert search.leaks() == []


RESOURCE_FAULTS: dict[str, dict[str, Any]] = {
    "refused token": {"code": "CMN_90018"},
    "no HTTP": {"wire": f"{FROM_BANK}\r\n\r\n".encode()},
    "a broken header": {"wire": b"HTTP/1.1 200 OK\r\nX-%s\1: x\r\n\r\n" % FROM_BANK.encode()},
    "two lengths": {
        "wire": b"HTTP/1.1 200 %s\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx"
        % FROM_BANK.encode()
    },
    "too much": {"wire": b"HTTP/1.1 204 No\r\n\r\n" + FROM_BANK.encode()},
    "cut": {"cut": True},
    "reset": {"reset": True},
    "silence": {"hang": True},
}


@pytest.mark.parametrize("fault", RESOURCE_FAULTS)
async def test_faulty_upstream(search: SecretSearch, tmp_path: Path, fault: str) -> None:
    """Neither a malformed response nor the request is quoted."""
    async with watched(
        search,
        tmp_path,
        upstream={"first_byte_timeout": "0.2", "idle_timeout": "0.2"},
        token={"min_interval": "0.001"},
    ) as fixture:
        fixture.bank.bank.faults.append(Fault("resource", **RESOURCE_FAULTS[fault], times=2))
        await send(search, fixture, request())
        await send(search, fixture, request(method="POST", body=IN_BODY))
        assert fixture.log.lines("request")
    assert search.leaks() == []


HOSTILE = (
    f"GET /v1/accounts HTTP/1.1\r\nHost: x\r\nX: {IN_HEADER}\0\r\n\r\n",
    f"GET /v1/accounts HTTP/1.1\r\nHost: x\r\n{IN_HEADER}\r\n\r\n",
    f"GET /v1/accounts HTTP/1.1\r\nHost: x\r\n{IN_HEADER} : y\r\n\r\n",
    f"GET /v1/accounts HTTP/1.1\r\nHost: {IN_HEADER}@x\r\n\r\n",
    f"GET /v1/accounts HTTP/1.1\r\nHost: x\r\nContent-Length: {IN_HEADER}\r\n\r\n",
    f"GET /v1/accounts HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: {IN_HEADER}\r\n\r\n",
    f"GET /v1/accounts HTTP/1.1\r\nHost: x\r\ninstitutionId: {IN_HEADER}\r\n\r\n",
    f"GET /v1/accounts HTTP/1.1\r\nHost: x\r\ntransactionId: {IN_HEADER}\r\nTE: x\r\n\r\n",
    f"GET /v1/accounts HTTP/1.1\r\nHost: x\r\nX: {IN_HEADER}\x85\r\n\r\n",
    f"GET /v1/accounts HTTP/1.1\r\nHost: x\r\nX: {IN_HEADER * 5000}\r\n\r\n",
    f"GET /v1/accounts?{IN_QUERY * 5000} HTTP/1.1\r\nHost: x\r\n\r\n",
    f"{IN_HEADER} /echo HTTP/1.1\r\nHost: x\r\n\r\n",
    f"GET /v1/accounts {IN_HEADER}\r\nHost: x\r\n\r\n",
    f"GET http://{IN_HEADER}/echo HTTP/1.1\r\nHost: x\r\n\r\n",
    f"POST /oauth2/v1/token?{IN_QUERY} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
    f"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n{IN_BODY}\r\n\r\n",
    f"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n{IN_BODY}",
    f"{IN_BODY}\r\n\r\n",
)


async def test_hostile_requests(search: SecretSearch, tmp_path: Path) -> None:
    """An invalid request is not quoted in responses or log."""
    async with watched(search, tmp_path) as fixture:
        for sent in HOSTILE:
            end = b"" if sent.endswith(IN_BODY) else b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n"
            search.add("an answer", await send(search, fixture, sent.encode("latin-1"), end))
        assert len(fixture.log.lines("request")) >= len(HOSTILE) - 2
    assert search.leaks() == []


async def test_reloads(search: SecretSearch, tmp_path: Path) -> None:
    """Wrong and misplaced secrets, and all kinds of errors."""
    async with watched(search, tmp_path) as fixture:
        write(tmp_path / "secret", WRONG)
        await fixture.wait_for_failed_reload()
        write(tmp_path / "secret", SECRET)
        await fixture.wait_for_reload()
        for changes in (
            {"client_secret": WRONG},
            {"bearer_token": WRONG},
            {"password": WRONG, "username": "x"},
            {"base_url": f"https://me:{WRONG}@bank.test"},
            {"upstream": {"proxy": f"http://me:{WRONG}@company.test:1"}},
            {"institution_id": WRONG},
            {"token": {"timeout": WRONG}},
            {"callers": {"secret_files": [str(tmp_path / "missing")]}},
        ):
            before = fixture.settings
            fixture.write(**changes)
            assert (await fixture.admin("/-/reload", "POST"))[0] == 409
            await collect(search, fixture)
            fixture.settings = before
        write(fixture.file, f"client_secret: [{WRONG}")
        assert (await fixture.admin("/-/reload", "POST"))[0] == 409
        fixture.write()
        await until(lambda: fixture.is_current)
    assert search.leaks() == []


async def test_user_logins(search: SecretSearch, tmp_path: Path) -> None:
    """Password, refresh token and its file; all are revoked at the end."""
    write(tmp_path / "password", PASSWORD)
    async with watched(
        search,
        tmp_path,
        username="juniper",
        password_file=str(tmp_path / "password"),
        refresh_token_file=str(tmp_path / "tokens" / "kept.json"),
        revoke_on_shutdown="true",
    ) as fixture:
        assert (
            fixture.log.getvalue().count("cannot be written") == 1
        )  # the directory does not exist
        (entry,) = fixture.app.tokens.entries()
        for fault in (None, Fault("token", code="CMN_90018", grant="refresh_token", times=1)):
            if fault is not None:
                fixture.bank.bank.faults.append(fault)
            fixture.app.tokens.start_refresh(entry)
            await until(lambda: entry.fetch is None)
        fixture.bank.bank.faults.append(Fault("revoke", status=500))
        grants = {asked.grant for asked in fixture.bank.bank.token_requests}
        assert grants == {"password", "refresh_token"}
    assert search.leaks() == []


async def test_static_token(search: SecretSearch, tmp_path: Path) -> None:
    """It comes from the environment and is refused by the bank."""
    async with Sandbox() as bank, aiohttp.ClientSession() as caller:
        with captured_log() as log:
            async with running(bank, bearer_token=BEARER, log={"access": "on"}) as app:
                fixture = ProxyFixture(bank, app, caller, log, tmp_path / "none", {})
                assert b" 401 " in await send(search, fixture, request())
                await collect(search, fixture)
        assert f"Bearer {BEARER}" == bank.bank.arrivals[0].header("authorization")
        search.add("the log", log.getvalue())
        assert log.lines("request")
    assert search.leaks() == []


async def test_callers_and_the_outbound_proxy(search: SecretSearch, tmp_path: Path) -> None:
    """Shared secret, wrong secrets, and the proxy's password."""
    authority = OpensslAuthority.make(tmp_path)
    write(tmp_path / "shared", SHARED)
    write(tmp_path / "company", COMPANY)
    bank = Sandbox()
    await bank.start(ssl_context=server_context(authority.issue("bank", "IP:127.0.0.1")))
    async with (
        ConnectProxy(login=f"me:{COMPANY}") as company,
        watched(
            search,
            tmp_path,
            bank,
            callers={"secret_files": [str(tmp_path / "shared")]},
            upstream={
                "ca_file": str(authority.file),
                "proxy": company.url,
                "proxy_user": "me",
                "proxy_password_file": str(tmp_path / "company"),
                "connect_timeout": "0.3",
            },
        ) as fixture,
    ):
        shown = f"Proxy-Authorization: Bearer {SHARED}"
        guess = f"Proxy-Authorization: Bearer {WRONG}"
        assert b" 200 " in await send(search, fixture, request(shown))
        assert b" 403 " in await send(search, fixture, request(guess))
        (entry,) = fixture.app.tokens.entries()
        for response in (b"HTTP/1.1 407 No\r\n\r\n", COMPANY.encode() + b"\r\n\r\n"):
            company.response = response
            fixture.bank.drop_connections()
            assert b" 502 " in await send(search, fixture, request(shown))
            fixture.app.tokens.start_refresh(entry)
            await until(lambda: entry.fetch is None)
        assert any(form in "".join(company.heads) for form in forms(COMPANY))
    await bank.stop()
    assert search.leaks() == []


async def test_internal_error(
    search: SecretSearch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A crash with secrets in its message and variables: the traceback has none."""

    def crash(*_: object, **__: object) -> str:
        local = SECRET  # a traceback shows no variables
        raise RuntimeError(f"could not send Authorization: Bearer {FROM_CALLER}; {len(local)}")

    async with watched(search, tmp_path) as fixture:
        upstream = fixture.app.forwarder._upstream
        monkeypatch.setattr(upstream, "user_injector", SimpleNamespace(inject=crash))
        response = await send(search, fixture, request(method="POST", body=IN_BODY))
        assert b" 500 " in response
        (line,) = fixture.log.lines("internal error")
        assert "Traceback" in line["exception"]
        assert "in crash" in line["exception"]
    assert search.leaks() == []


async def test_visible_data_of_the_process(search: SecretSearch, tmp_path: Path) -> None:
    """Arguments, open files and output, until an error."""
    write(tmp_path / "secret", SECRET)
    async with Sandbox() as bank:
        bank.bank.settings = changed(bank.bank.settings, {"clients": {CLIENT_ID: SECRET}})
        async with process(
            tmp_path / "proxy.yaml",
            bank.url,
            client_secret_file=str(tmp_path / "secret"),
            log={"level": "debug", "access": "on"},
            client_id=CLIENT_ID,
        ) as running:
            for name in ("cmdline", "environ", "comm", "limits"):
                search.add(f"/proc/PID/{name}", await read(f"/proc/{running.pid}/{name}"))
            core = re.search(
                r"Max core file size +(\d+)", await read(f"/proc/{running.pid}/limits")
            )
            assert core is not None
            assert int(core[1]) <= 1
            write(tmp_path / "secret", WRONG)
            _ = await running.program.wait_for_event("configuration reload failed")
            assert await running.program.end(SIGTERM) == 0
        search.add("output", "\n".join([*running.program.out, *running.program.err]))
        for token in bank.bank.tokens.values():
            search.secret("a token", token.text)
    assert search.leaks() == []


async def read(path: str) -> str:
    """Return the content of a file."""
    return await asyncio.to_thread(Path(path).read_text, "latin-1")


def test_search_finds_leaks() -> None:
    """Otherwise it would accept every program."""
    search = SecretSearch()
    search.secret("it", "Mark0+Secret0Mark")
    search.add("plain", "… Mark0+Secret0Mark …")
    search.add("a form", "client_secret=Mark0%2BSecret0Mark&x=y")
    for user in ("a", "ab", "abc"):
        search.add(f"Basic {user}", b64encode(f"{user}:Mark0+Secret0Mark".encode()))
    search.add("elsewhere", "nothing")
    places = ("Basic a", "Basic ab", "Basic abc", "a form", "plain")
    assert search.leaks() == [f"it in {place}" for place in places]


def test_hidden_objects_are_searched() -> None:
    """Behind attributes, closures, partials and causes."""

    class Leaky:
        def __init__(self, text: str) -> None:
            self.text = text

        def __repr__(self) -> str:
            return self.text

    def holding(one: object) -> object:
        return lambda: one

    class Root:
        def __init__(self) -> None:
            self.attribute = {"deep": [Leaky("one")]}
            self.closure = holding(Leaky("two"))
            self.error = ValueError("x")
            self.error.__cause__ = KeyError(Leaky("three"))

    found = " ".join(text for _, text in reprs(Root()))
    assert all(word in found for word in ("one", "two", "three"))
