"""Web pages in a real browser: what a page of another origin can do.

Chromium resolves every name below ``test`` to this machine, as an attacker's DNS server would.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from playwright.async_api import Browser, Page, async_playwright

from proxy.forwarding.record import RequestRecord
from proxy.runtime.app import App
from proxy.sandbox import Sandbox
from tests.support import machine_clock, needs
from tests.support.running import running, until

FETCH = """async ([url, options]) => {
    try {
        const response = await fetch(url, options);
        return [response.status, await response.text(), response.headers.get("transactionId")];
    } catch (error) {
        return [0, String(error), null];
    }
}"""
POST_FORM = """([url, kind]) => {
    const form = document.createElement("form");
    form.method = "post";
    form.enctype = kind;
    form.action = url;
    document.body.append(form);
    form.submit();
}"""
OPEN_WEBSOCKET = """url => new Promise(done => {
    const socket = new WebSocket(url);
    socket.onopen = () => done("open");
    socket.onerror = () => done("refused");
})"""


class PageScenario:
    """A proxy, the records of its requests, and a browser with pages of a web server."""

    def __init__(self, app: App, browser: Browser, pages_port: int) -> None:
        self.app = app
        self.browser = browser
        self.pages_port = pages_port
        self.records: list[RequestRecord] = []
        app.forwarder._on_finished = [self.records.append]

    def url(self, host: str, path: str = "/v1/accounts") -> str:
        """Return a URL of the data port under a name."""
        return f"http://{host}:{self.app.data_address.port}{path}"

    def admin_url(self, host: str, path: str) -> str:
        """Return a URL of the admin port under a name."""
        return f"http://{host}:{self.app.admin_address.port}{path}"

    async def page(self, host: str) -> Page:
        """Open an empty page of an origin."""
        page = await self.browser.new_page()
        await page.goto(f"http://{host}:{self.pages_port}/")
        return page

    @property
    def forwarded_methods(self) -> list[str]:
        """The methods of the requests that reached the bank."""
        return [record.method for record in self.records if record.sent_at]


@asynccontextmanager
async def scenario(*, with_cors: bool = False, **settings: Any) -> AsyncIterator[PageScenario]:
    """Start bank, proxy, web server and browser; ``with_cors`` allows pages of localhost."""
    pages = web.Application()
    pages.router.add_get("/", _empty_page)
    runner = web.AppRunner(pages)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    port = runner.addresses[0][1]
    if with_cors:
        settings["cors"] = {"allow_origins": f"http://localhost:{port}"}
    async with (
        Sandbox() as bank,
        running(bank, allowed_hosts="", **settings) as app,
        async_playwright() as tools,
    ):
        browser = await tools.chromium.launch(
            executable_path=needs.program("chromium"),
            args=["--no-sandbox", "--disable-gpu", "--host-resolver-rules=MAP *.test 127.0.0.1"],
            env={**machine_clock.environment()},
        )
        try:
            yield PageScenario(app, browser, port)
        finally:
            await browser.close()
            await runner.cleanup()


async def _empty_page(_request: web.Request) -> web.Response:
    return web.Response(text="<!doctype html><title>A page</title>", content_type="text/html")


@pytest.mark.parametrize("host", ["local.attacker.test", "localhost", "127.0.0.1"])
async def test_form_of_another_site_is_refused(host: str) -> None:
    """A form needs no preflight, and its type can resemble JSON."""
    async with scenario() as case:
        page = await case.page("attacker.test")
        async with page.expect_navigation():
            await page.evaluate(POST_FORM, [case.url(host, "/v1/transfers"), "text/plain"])
        assert '"status": 403' in await page.inner_text("body")
        assert "POST" not in case.forwarded_methods  # the browser also requests the page's icon


async def test_rebound_name_is_refused() -> None:
    """A page under its own name is same-origin and sends no Origin."""
    async with scenario() as case:
        page = await case.browser.new_page()
        response = await page.goto(case.url("evil.test"))
        assert response is not None
        assert response.status == 403
        status, text, _ = await page.evaluate(FETCH, [case.url("evil.test"), {}])
        assert (status, "allowed_hosts" in text) == (403, True)
        assert case.forwarded_methods == []


async def test_websocket_of_another_site_is_refused() -> None:
    """A WebSocket handshake is a GET without a preflight."""
    async with scenario() as case:
        page = await case.page("other.test")
        address = case.url("localhost").replace("http:", "ws:")
        assert await page.evaluate(OPEN_WEBSOCKET, address) == "refused"
        await until(lambda: case.records)
        assert [record.status for record in case.records] == [403]
        assert case.forwarded_methods == []


@pytest.mark.parametrize("host", ["local.attacker.test", "localhost"])
async def test_form_of_another_site_cannot_reload(host: str) -> None:
    """The rule applies to every path of the admin port."""
    async with scenario(admin_actions="true") as case:
        for path in ("/-/reload", "/quitquitquit"):
            page = await case.page("attacker.test")
            async with page.expect_navigation():
                await page.evaluate(POST_FORM, [case.admin_url(host, path), "text/plain"])
            assert "403" not in await page.title()
            assert "origin" in await page.inner_text("body") or "host" in await page.inner_text(
                "body"
            )
        assert not case.app.quit.is_set()
        for path in ("/metrics", "/readyz", "/livez", "/"):
            response = await (await case.browser.new_page()).goto(case.admin_url("evil.test", path))
            assert response is not None
            assert response.status == 403


async def test_link_opens_the_status_page() -> None:
    """The page then reads its own data."""
    async with scenario() as case:
        page = await case.page("docs.test")
        target = case.admin_url("localhost", "/")
        async with page.expect_navigation():
            await page.evaluate("url => { location = url; }", target)
        await page.wait_for_selector("text=Ready: tokens are fresh")


async def test_cors_allows_a_users_own_application() -> None:
    """Without cors the call is refused before the bank sees it."""
    async with scenario() as case:
        page = await case.page("localhost")
        status, _, _ = await page.evaluate(FETCH, [case.url("localhost"), {}])
        assert (status, case.forwarded_methods) == (0, [])
    post = {
        "method": "POST",
        "headers": {"Content-Type": "application/json", "institutionId": "00016"},
        "body": "{}",
    }
    async with scenario(with_cors=True) as case:
        page = await case.page("localhost")
        status, text, _ = await page.evaluate(FETCH, [case.url("localhost"), {}])
        assert (status, "accounts" in text) == (200, True)
        status, _, transaction = await page.evaluate(FETCH, [case.url("127.0.0.1", "/echo"), post])
        assert status == 200
        assert transaction
        assert case.forwarded_methods == ["GET", "POST"]
        assert [record.method for record in case.records] == ["GET", "OPTIONS", "POST"]
        # The proxy's own errors can be read too.
        post["headers"] = {"institutionId": "99999"}
        status, text, _ = await page.evaluate(FETCH, [case.url("localhost"), post])
        assert (status, "institution" in text) == (403, True)
        # The same page under another name is another origin.
        other = await case.page("127.0.0.1")
        status, _, _ = await other.evaluate(FETCH, [case.url("localhost"), {}])
        assert (status, len(case.forwarded_methods)) == (0, 2)
