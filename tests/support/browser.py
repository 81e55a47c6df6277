"""A headless Chromium, and somebody who watches what a page does in it."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

from playwright.async_api import Browser, Page, Route, async_playwright

from tests.support import needs


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """Start the browser; skip the test where there is none."""
    async with async_playwright() as tools:
        browser = await tools.chromium.launch(
            executable_path=needs.program("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        yield browser
        await browser.close()


class PageWatcher:
    """Notes what a page should not do: complain, fail, break its policy, or ask elsewhere."""

    def __init__(self, page: Page, fixture: str) -> None:
        """Watch ``page``, which belongs to the origin ``fixture``."""
        self._home = urlsplit(fixture).netloc
        self.complaints: list[str] = []
        page.on("console", lambda message: self._heard(message.type, message.text))
        page.on("pageerror", lambda error: self._heard("error", str(error)))
        page.on("request", lambda request: self._asked(request.url))

    def _heard(self, kind: str, text: str) -> None:
        if kind in ("error", "warning"):
            self.complaints.append(f"{kind}: {text}")

    def _asked(self, url: str) -> None:
        if urlsplit(url).netloc != self._home:
            self.complaints.append(f"asked for {url}")


@asynccontextmanager
async def opened(
    browser: Browser,
    address: str,
    *,
    forgiving: bool = False,
    told: Mapping[str, object] | None = None,
    **more: Any,
) -> AsyncIterator[Page]:
    """Open a page with a clock that can be put forward; at its end nothing may have gone wrong.

    ``forgiving`` lets it complain of a server that does not answer; ``told`` is what stands in
    for the answers of an API, by its path; ``more`` is for the browser's context.
    """
    context = await browser.new_context(**more)
    page = await context.new_page()
    await page.clock.install()
    watcher = PageWatcher(page, address)
    for path, document in (told or {}).items():
        await page.route(f"**{path}", _answer(document))
    try:
        await page.goto(address)
        yield page
    finally:
        await context.close()
    unforgiven = [text for text in watcher.complaints if not (forgiving and "net::ERR_" in text)]
    assert unforgiven == []


def _answer(document: object) -> Callable[[Route], Awaitable[None]]:
    async def answer(route: Route) -> None:
        await route.fulfill(json=document)

    return answer
