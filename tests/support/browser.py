"""A headless Chromium, and a watcher that records what a page should not do."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

from playwright.async_api import Browser, Page, Route, async_playwright

from tests.support import machine_clock, needs


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """Start the browser; skip the test if it is not installed."""
    async with async_playwright() as tools:
        browser = await tools.chromium.launch(
            executable_path=needs.program("chromium"),
            args=["--no-sandbox", "--disable-gpu"],
            env={**machine_clock.environment()},
        )
        yield browser
        await browser.close()


class PageWatcher:
    """Records console errors and warnings, script errors, and requests to other origins."""

    def __init__(self, page: Page, origin: str) -> None:
        """Watch ``page``, which belongs to the URL ``origin``."""
        self._host = urlsplit(origin).netloc
        self.problems: list[str] = []
        page.on("console", lambda message: self._on_message(message.type, message.text))
        page.on("pageerror", lambda error: self._on_message("error", str(error)))
        page.on("request", lambda request: self._on_request(request.url))

    def _on_message(self, kind: str, text: str) -> None:
        if kind in ("error", "warning"):
            self.problems.append(f"{kind}: {text}")

    def _on_request(self, url: str) -> None:
        if urlsplit(url).netloc != self._host:
            self.problems.append(f"requested {url}")


@asynccontextmanager
async def opened(
    browser: Browser,
    address: str,
    *,
    allow_network_errors: bool = False,
    api_responses: Mapping[str, object] | None = None,
    **more: Any,
) -> AsyncIterator[Page]:
    """Open a page whose clock a test can move; at the end, fail if the watcher has found a problem.

    ``allow_network_errors`` permits errors of a server that does not respond. ``api_responses``
    replaces the responses of an API, by its path. ``more`` goes to the browser's context.
    """
    context = await browser.new_context(**more)
    page = await context.new_page()
    await page.clock.install()
    watcher = PageWatcher(page, address)
    for path, document in (api_responses or {}).items():
        await page.route(f"**{path}", _respond_with(document))
    try:
        await page.goto(address)
        yield page
    finally:
        await context.close()
    assert [
        text for text in watcher.problems if not (allow_network_errors and "net::ERR_" in text)
    ] == []


def _respond_with(document: object) -> Callable[[Route], Awaitable[None]]:
    async def respond(route: Route) -> None:
        await route.fulfill(json=document)

    return respond
