"""The status page in a browser: updates, safety, accessibility."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect

from proxy.runtime.app import App
from proxy.sandbox import Fault, Sandbox
from proxy.tokens.token import TokenKind
from tests.support.browser import chromium, opened
from tests.support.raw_client import ask
from tests.support.running import running, until, url
from tests.support.secret_search import SecretSearch

pytestmark = pytest.mark.asyncio(loop_scope="module")

MARKUP = "<img src=x onerror=\"document.title='broken into'\"><b>&amp;</b>"
SEEN = "6f1d0c4e-1c1c-4000-8000-00000000a11e"
CONTRAST = (Path(__file__).parent / "contrast.js").read_text(encoding="utf-8")
MOTION = (
    "[getComputedStyle(document.querySelector('.disc')).transitionDuration,"
    " getComputedStyle(document.documentElement).scrollBehavior]"
)
LOOK = 2_000
"""Milliseconds between two looks of the page at the proxy."""


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def browser() -> AsyncIterator[Browser]:
    """One browser for all tests of this module."""
    async with chromium() as started:
        yield started


def home(app: App) -> str:
    """Return the URL of the page."""
    return f"http://{app.admin_address}/"


async def call(app: App, path: str = "/echo", **headers: str) -> None:
    """Call through the proxy."""
    async with (
        aiohttp.ClientSession(url(app)) as session,
        session.get(path, headers=headers) as response,
    ):
        await response.read()


async def later(page: Page) -> None:
    """Advance the page's clock to its next update."""
    await page.clock.fast_forward(LOOK)


async def no_token(bank: Sandbox, app: App) -> None:
    """Let the bank refuse the client, and drop the V2 token."""
    bank.bank.faults.append(Fault("token", code="CMN_90004"))
    (entry,) = [each for each in app.tokens.entries() if each.key.kind is TokenKind.V2]
    entry.held.token = None
    app.tokens.start_refresh(entry)
    await until(lambda: entry.failures)


async def test_page_updates_itself(browser: Browser) -> None:
    """With a request, its rate, times and id."""
    async with Sandbox() as bank, running(bank) as app, opened(browser, home(app)) as page:
        await expect(page.locator("h1")).to_contain_text("Ready: tokens are fresh")
        await expect(page).to_have_title("Working · candescent-proxy")
        await expect(page.locator("#request-rows tr")).to_have_count(0)
        await expect(page.locator(".card .chip")).to_have_text("fresh")
        await expect(page.locator(".card .next dd")).to_contain_text(" min ")
        await expect(page.locator("#refresh-rows tr")).to_contain_text("refreshed")
        await call(app, "/v1/accounts/8812345?hostUserId=880017", transactionId=SEEN)
        await later(page)
        row = page.locator("#request-rows tr")
        await expect(row).to_contain_text("/v1/accounts/…")
        await expect(row.locator(".id code")).to_have_text(SEEN)
        await expect(row.locator(".status")).to_have_text("404")
        await expect(row.locator(".owner")).to_have_text("bank")
        await expect(page.locator("#failed")).to_have_text("0")


async def test_countdown_runs_between_updates(browser: Browser) -> None:
    """In seconds."""
    async with Sandbox() as bank, running(bank) as app, opened(browser, home(app)) as page:
        await expect(page.locator(".card .chip")).to_have_text("fresh")
        await page.locator("#pause").click()
        before = await page.locator(".card .end dd").inner_text()
        await page.locator("#pause").click()
        await page.clock.fast_forward(61_000)
        await expect(page.locator(".card .end dd")).not_to_have_text(before)


async def test_failing_token_and_recovery(browser: Browser) -> None:
    """With cause and remedy, until it is over."""
    async with (
        Sandbox() as bank,
        running(bank, token={"refusal_memory": "0.2"}) as app,
        opened(browser, home(app)) as page,
    ):
        await expect(page.locator("#health")).to_have_attribute("data-state", "ok")
        await no_token(bank, app)
        await call(app)
        await later(page)
        await expect(page.locator("h1")).to_have_text(
            "Requests fail: there is no V2 token for institution 00016."
        )
        await expect(page.locator("#cause")).to_contain_text("CMN_90004")
        await expect(page.locator("#advice")).to_contain_text("client_id")
        await expect(page.locator(".card .chip")).to_contain_text("missing")
        await expect(page.locator(".card-cause")).to_contain_text("refused the client id")
        await expect(page.locator("#refresh-rows tr").first).to_contain_text("failed")
        await expect(page.locator("#error-rows tr")).to_contain_text("token-bad-client")
        await expect(page.locator("#request-rows tr").first).to_contain_text("token: bad-client")
        await expect(page.locator("#announce")).to_contain_text("Requests fail")
        await expect(page).to_have_title("Failing · candescent-proxy")
        bank.bank.faults.clear()
        await until(lambda: app.readiness().is_ready)
        await later(page)
        await expect(page.locator("#health")).to_have_attribute("data-state", "ok")
        await expect(page.locator("#announce")).to_contain_text("No request went to the bank")


async def test_missing_proxy_and_return(browser: Browser) -> None:
    """With the time of the last response."""
    async with Sandbox() as bank:
        async with running(bank) as app:
            address = app.admin_address
            opening = opened(browser, home(app), allow_network_errors=True)
            page = await opening.__aenter__()
            await expect(page.locator("#health")).to_have_attribute("data-state", "ok")
        await later(page)
        await expect(page.locator("h1")).to_contain_text("does not respond. The values below")
        await expect(page).to_have_title("No response · candescent-proxy")
        async with running(bank, admin=str(address)):
            await page.clock.fast_forward(2 * LOOK)
            await expect(page.locator("#health")).to_have_attribute("data-state", "ok")
            await opening.__aexit__(None, None, None)


async def test_paused_page_sends_no_requests(browser: Browser) -> None:
    """It says that it is paused."""
    async with Sandbox() as bank, running(bank) as app, opened(browser, home(app)) as page:
        await expect(page.locator("#freshness")).to_have_text("live")
        await page.get_by_role("button", name="Pause").click()
        await expect(page.locator("#freshness")).to_have_text("paused")
        await call(app)
        await page.clock.fast_forward(20 * LOOK)
        await expect(page.locator("#request-rows tr")).to_have_count(0)
        await page.get_by_role("button", name="Resume").click()
        await expect(page.locator("#request-rows tr")).to_have_count(1)


def hostile(value: Any, name: str = "") -> Any:
    """Replace every free text of a document with markup."""
    match value:
        case dict():
            return {key: hostile(inner, key) for key, inner in value.items()}
        case list():
            return [hostile(inner, name) for inner in value]
        case str() if name not in ("state", "result", "area"):
            return MARKUP
    return value


async def test_markup_is_shown_as_text(browser: Browser) -> None:
    """In any field."""
    async with Sandbox() as bank, running(bank, token={"refusal_memory": "60"}) as app:
        await call(app, "/v1/accounts")
        await call(app, institutionId="00099")
        await no_token(bank, app)
        document = hostile(json.loads(app.status().model_dump_json(by_alias=True)))

        async with opened(browser, home(app), api_responses={"/api/status": document}) as page:
            await expect(page.locator("h1")).to_have_text(MARKUP)
            for place in ("#cause", "#advice", "#request-rows .grow", "#error-rows strong"):
                await expect(page.locator(place).first).to_contain_text(MARKUP)
            assert await page.locator("main img, main b:not(.legend b)").count() == 0
            await expect(page).to_have_title("Failing · candescent-proxy")


async def test_markup_of_callers_is_harmless(browser: Browser) -> None:
    """The path is masked, the id is text."""
    path, name = "/<script>alert(1)</script>", "<img/src=x/onerror=alert(1)>"
    async with Sandbox() as bank, running(bank) as app, opened(browser, home(app)) as page:
        await ask(app, f"GET {path} HTTP/1.1\r\nHost: x\r\ntransactionId: {name}\r\n\r\n".encode())
        await later(page)
        await expect(page.locator("#request-rows tr")).to_have_count(1)
        assert "<script>" not in await page.locator("#request-rows").inner_text()
        assert await page.locator("main img, main script").count() == 0


async def test_no_secret_in_the_page(browser: Browser) -> None:
    """Neither token, client secret, query nor credentials."""
    watch = SecretSearch()
    secret = watch.secret("client secret", "sandbox-secret")
    query = watch.secret("query", "Mark0Query0Mark")
    bearer = watch.secret("caller's token", "Mark0Bearer0Mark")
    account = watch.secret("account number", "4711081547110815")
    async with Sandbox() as bank, running(bank) as app, opened(browser, home(app)) as page:
        await call(app, f"/v1/accounts/{account}?q={query}", Authorization=f"Bearer {bearer}")
        await no_token(bank, app)
        await call(app, f"/v1/accounts/{account}?q={query}", Authorization=f"Basic {secret}")
        for token in bank.bank.tokens.values():
            watch.secret("a token", token.text)
        await later(page)
        await expect(page.locator("#request-rows tr")).to_have_count(2)
        watch.add("the page", await page.content())
        watch.add("the document", app.status().model_dump_json())
    assert watch.leaks() == []
    assert len(bank.bank.tokens) == 1


async def crowded(app: App, bank: Sandbox) -> None:
    """Fill every part of the page."""
    for number in range(12):
        await call(app, f"/db-users/v1/institution-users/juniper.quill/long-resource-{number}/more")
    await call(app, institutionId="00099")
    bank.bank.faults.append(Fault("resource", reset=True, times=2, late=True))
    await call(app, "/v1/transfers")
    await call(app, "/fis/00016/fiCustomers/1")
    await no_token(bank, app)
    await call(app)


@pytest.mark.parametrize("theme", ["light", "dark"])
async def test_contrast(browser: Browser, theme: str) -> None:
    """Of every text, in both themes and all states."""
    async with (
        Sandbox() as bank,
        running(bank) as app,
        opened(browser, home(app), allow_network_errors=True, color_scheme=theme) as page,
    ):
        await expect(page.locator("#health")).to_have_attribute("data-state", "ok")
        assert await page.evaluate(CONTRAST) == []
        await crowded(app, bank)
        await later(page)
        await expect(page.locator("#health")).to_have_attribute("data-state", "failing")
        assert await page.evaluate(CONTRAST) == []
        await page.context.set_offline(True)
        await later(page)
        await expect(page.locator("#health")).to_have_attribute("data-state", "gone")
        assert await page.evaluate(CONTRAST) == []


async def test_phone(browser: Browser) -> None:
    """At 360 pixels nothing scrolls sideways."""
    async with (
        Sandbox() as bank,
        running(bank) as app,
        opened(browser, home(app), viewport={"width": 360, "height": 740}) as page,
    ):
        await crowded(app, bank)
        await later(page)
        await page.locator("#more-requests button").click()
        await expect(page.locator("#request-rows tr")).to_have_count(16)
        assert await page.evaluate("document.documentElement.scrollWidth") == 360
        wide = "[...document.querySelectorAll('main *')].filter((each) => each.checkVisibility() &&"
        wide += " !each.closest('.unseen, thead, svg') && each.getBoundingClientRect().right > 361)"
        assert await page.evaluate(wide + ".map((each) => each.outerHTML.slice(0, 200))") == []


async def test_screen_readers(browser: Browser) -> None:
    """Landmarks, a heading, table captions, and names of controls."""
    async with Sandbox() as bank, running(bank) as app, opened(browser, home(app)) as page:
        await crowded(app, bank)
        await later(page)
        await expect(page.locator("#error-rows tr").first).to_be_visible()
        for role in ("banner", "navigation", "main", "contentinfo", "status"):
            await expect(page.get_by_role(role)).to_have_count(1)
        assert await page.locator("h1").count() == 1
        assert await page.locator("html").get_attribute("lang") == "en"
        for table in await page.get_by_role("table").all():
            assert await table.locator("caption").inner_text() != ""
            heads = await table.locator("thead th[scope=col]").count()
            assert heads == await table.locator("tbody tr").first.locator("td").count()
        for name in ("button", "a"):
            for each in await page.locator(name).all():
                assert (await each.text_content() or "").strip() or not await each.is_visible()
        for plot in await page.locator(".plot svg").all():
            assert "at most" in (await plot.get_attribute("aria-label") or "")
        sections = page.locator("main > section[aria-labelledby]")
        assert await sections.count() == await page.locator("main > section").count()


async def test_keyboard(browser: Browser) -> None:
    """The first key leads to the content, and focus is visible."""
    async with Sandbox() as bank, running(bank) as app, opened(browser, home(app)) as page:
        await crowded(app, bank)
        await later(page)
        await expect(page.locator("#more-requests button")).to_be_visible()
        await page.keyboard.press("Tab")
        await expect(page.locator(":focus")).to_have_text("Skip to content")
        outline = "getComputedStyle(document.activeElement).outlineStyle"
        reached = set()
        for _ in range(50):
            await page.keyboard.press("Tab")
            reached.add(await page.evaluate("document.activeElement.textContent"))
            assert await page.evaluate(
                f"document.activeElement === document.body || {outline}"
            ) in (
                "solid",
                True,
            )
        assert {"Tokens", "Pause", "Show all 16", "/metrics"} <= reached


async def test_reduced_motion(browser: Browser) -> None:
    """Nothing is animated."""
    async with Sandbox() as bank, running(bank) as app:
        async with opened(browser, home(app), reduced_motion="reduce") as page:
            assert await page.evaluate(MOTION) == ["0s", "auto"]
        async with opened(browser, home(app), reduced_motion="no-preference") as page:
            assert await page.evaluate(MOTION) == ["0.3s", "smooth"]


async def test_disabled_page_says_why(browser: Browser) -> None:
    """In words."""
    async with Sandbox() as bank, running(bank, status_page="off") as app:
        page = await browser.new_page()
        await page.goto(home(app))
        assert "status_page is off" in await page.inner_text("body")
        await page.close()
