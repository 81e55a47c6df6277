"""Every state, caused at the sandbox bank and seen on the page at its next look."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from copy import deepcopy
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect

from proxy.runtime.app import App
from proxy.sandbox import Fault, Sandbox
from tests.admin.test_page import CONTRAST, LOOK, call, home
from tests.support import needs
from tests.support.browser import chromium, opened
from tests.support.running import make_app, running, until

pytestmark = pytest.mark.asyncio(loop_scope="module")

OTHERS = ("00145", "00146", "00147", "00148", "00149")


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def browser() -> AsyncIterator[Browser]:
    """One browser for all tests of this module."""
    async with chromium() as started:
        yield started


async def calls(app: App, count: int, path: str = "/echo", **headers: str) -> None:
    """Call through the proxy, one request after the other."""
    for _ in range(count):
        await call(app, path, **headers)


@asynccontextmanager
async def working() -> AsyncIterator[App]:
    """Requests are served."""
    async with Sandbox() as bank, running(bank) as app:
        await calls(app, 5)
        yield app


@asynccontextmanager
async def tokens_refused() -> AsyncIterator[App]:
    """The bank responds 401 to every request, as with keys of another environment."""
    async with Sandbox() as bank, running(bank) as app:
        bank.bank.faults.append(Fault("resource", status=401))
        await calls(app, 5)
        yield app


@asynccontextmanager
async def own_token_calls() -> AsyncIterator[App]:
    """The application still fetches tokens itself."""
    async with Sandbox() as bank, running(bank) as app:
        await calls(app, 5, "/oauth2/v1/token")
        yield app


@asynccontextmanager
async def bank_gone() -> AsyncIterator[App]:
    """After some successful requests the bank resets every connection."""
    async with Sandbox() as bank, running(bank) as app:
        await calls(app, 20)
        bank.bank.faults.append(Fault("resource", reset=True))
        await calls(app, 6)
        yield app


@asynccontextmanager
async def institutions_refused() -> AsyncIterator[App]:
    """The bank refuses five institutions, and serves the default one."""
    allowed = ",".join(OTHERS)
    async with Sandbox() as bank, running(bank, allowed_institutions=allowed) as app:
        for each in OTHERS:
            bank.bank.faults.append(Fault("token", code="CMN_90005", institution=each))
            await call(app, institutionId=each)
        await calls(app, 9)
        yield app


@asynccontextmanager
async def slow_token_calls() -> AsyncIterator[App]:
    """A token call takes more than half of its token's lifetime."""
    async with Sandbox() as bank:
        bank.bank.faults.append(Fault("token", delay=1.2, expires_in=2))
        async with running(bank) as app:
            yield app


@asynccontextmanager
async def starting() -> AsyncIterator[App]:
    """The token endpoint has not responded yet."""
    async with Sandbox() as bank:
        bank.bank.faults.append(Fault("token", hang=True))
        async with running(bank, ready=False) as app:
            yield app


@asynccontextmanager
async def stopping() -> AsyncIterator[App]:
    """A request is still running."""
    async with Sandbox() as bank:
        hanging = Fault("resource", hang=True)
        bank.bank.faults.append(hanging)
        app = make_app(bank.url, grace_period="60")
        await app.start()
        request = asyncio.create_task(call(app))
        await until(lambda: hanging.used)
        end = asyncio.create_task(app.stop())
        await until(lambda: app.readiness().draining)
        yield app
        request.cancel()
        await end


STATES: list[tuple[Callable[[], AbstractAsyncContextManager[App]], str, str, str]] = [
    (working, "ok", "Working: tokens are fresh and the bank responds.", ""),
    (tokens_refused, "failing", "Requests fail: the bank refuses our tokens (5 of 5", "client_id"),
    (own_token_calls, "warning", "The proxy refuses requests (5 of 5", "Remove the token call"),
    (bank_gone, "failing", "no response from the bank (the last 6 in a row, 6 of 26", "Find out"),
    (institutions_refused, "warning", "Requests of 5 institutions (00145, ", "institution_id"),
    (slow_token_calls, "warning", "and its token lives for 2 s.", "longer lifetime"),
    (starting, "starting", "Starting: fetching the V2 token for institution 00016.", ""),
    (stopping, "stopping", "Shutting down", ""),
]


async def broken_rules(page: Page) -> list[str]:
    """Return the rules of accessibility (axe-core) that the page breaks, with elements."""
    await page.evaluate((needs.npm_package("axe-core") / "axe.min.js").read_text(encoding="utf-8"))
    found = await page.evaluate("axe.run().then(result => result.violations)")
    return [f"{each['id']}: {[node['target'] for node in each['nodes']]}" for each in found]


@pytest.mark.parametrize(("cause", "state", "sentence", "advice"), STATES)
async def test_state_is_seen(
    browser: Browser,
    cause: Callable[[], AbstractAsyncContextManager[App]],
    state: str,
    sentence: str,
    advice: str,
) -> None:
    """At the first look after it began, with what to do and a link to the explanation."""
    async with cause() as app, opened(browser, home(app)) as page:
        await expect(page.locator("#health")).to_have_attribute("data-state", state)
        await expect(page.locator("h1")).to_contain_text(sentence)
        await expect(page.locator("#advice")).to_contain_text(advice)
        assert await page.evaluate(CONTRAST) == []
        assert await broken_rules(page) == []
        if advice:
            reason = app.conditions()[0].reason
            await page.locator("#explained").click()
            await expect(page.locator(f"dt:target#{reason}")).to_be_visible()


async def test_open_page_follows(browser: Browser) -> None:
    """It shows the outage at its next look, and which requests failed in red."""
    async with Sandbox() as bank, running(bank) as app, opened(browser, home(app)) as page:
        await calls(app, 3)
        await page.clock.fast_forward(LOOK)
        await expect(page.locator("h1")).to_contain_text("Working")
        bank.bank.faults.append(Fault("resource", status=503))
        await calls(app, 12)
        await page.clock.fast_forward(LOOK)
        await expect(page.locator("h1")).to_contain_text("the last 12 in a row, 12 of 15")
        await expect(page.locator(".figures [data-bad=true] #failed")).to_have_text("12")


async def test_most_requests_refused_is_red(browser: Browser) -> None:
    """Also where the callers are at fault."""
    async with own_token_calls() as app, opened(browser, home(app)) as page:
        await expect(page.locator(".figures [data-bad=true] #failed")).to_have_text("5")


async def test_id_is_copied(browser: Browser) -> None:
    """By a button, for the log and the bank."""
    async with working() as app:
        more: dict[str, Any] = {"permissions": ["clipboard-read", "clipboard-write"]}
        async with opened(browser, home(app), **more) as page:
            button = page.locator("#request-rows .copy").first
            await button.click()
            await expect(button).to_have_text("Copied")
            text = await page.evaluate("navigator.clipboard.readText()")
            assert text == app.status().requests[0].transaction_id


async def test_other_problems_are_listed(browser: Browser) -> None:
    """Below the worst, each with its state and advice."""
    async with tokens_refused() as app:
        document = json.loads(app.status().model_dump_json(by_alias=True))
        other = {key: value for key, value in document["health"].items() if key != "others"}
        other |= {"state": "warning", "sentence": "A reload failed.", "reason": "reload-failed"}
        document["health"]["others"] = [other]
        async with opened(browser, home(app), api_responses={"/api/status": document}) as page:
            (item,) = await page.locator("#others li").all()
            await expect(item).to_contain_text("A reload failed.")
            await expect(item.locator("a")).to_have_attribute("href", "/errors#reload-failed")


def crowd(document: dict[str, Any], count: int, missing: int) -> dict[str, Any]:
    """Return a status with the tokens of so many institutions."""
    crowded = deepcopy(document)
    (token,) = document["tokens"]
    failure = {"reason": "x", "detail": "Refused.", "advice": "Ask.", "code": None}
    bad = {"state": "missing", "failure": failure, "expires_at": None}
    crowded["tokens"] = [
        token | {"institution": f"{at:05}"} | (bad if at < missing else {}) for at in range(count)
    ]
    crowded["tokens_in_all"] = count
    return crowded


@asynccontextmanager
async def crowded_page(
    browser: Browser, count: int, missing: int, width: int = 1160
) -> AsyncIterator[Page]:
    """Open the page of a proxy with so many institutions."""
    async with working() as app:
        status = crowd(json.loads(app.status().model_dump_json(by_alias=True)), count, missing)
        viewport = {"width": width, "height": 800}
        async with opened(
            browser, home(app), api_responses={"/api/status": status}, viewport=viewport
        ) as page:
            await expect(page.locator("#well")).to_be_visible()
            yield page


@pytest.mark.parametrize(("count", "missing"), [(50, 5), (500, 40)])
@pytest.mark.parametrize("width", [1160, 360])
async def test_many_institutions(browser: Browser, count: int, missing: int, width: int) -> None:
    """Errors first, at most ten; the fresh ones are one line that the keyboard opens."""
    async with crowded_page(browser, count, missing, width) as page:
        await expect(page.locator("#token-list .card")).to_have_count(min(missing, 10))
        await expect(page.locator("#well .card")).to_have_count(0)
        summary = page.locator("#well-summary")
        await expect(summary).to_contain_text(f"{count - missing} other tokens are fresh")
        assert await page.evaluate("document.documentElement.scrollWidth") <= width
        assert await page.evaluate("document.documentElement.scrollHeight") < 7_000
        await summary.focus()
        await page.keyboard.press("Enter")
        await expect(page.locator("#well .card")).to_have_count(count - missing)


async def test_filter(browser: Browser) -> None:
    """By institution, fresh or not."""
    async with crowded_page(browser, 50, 5) as page:
        await page.get_by_label("Filter").fill("0004")
        cards = page.locator("#token-list .card")
        await expect(cards).to_have_count(10)
        await expect(cards.first).to_contain_text("missing")
        await expect(page.locator("#more-tokens")).to_be_visible()
        await page.get_by_label("Filter").fill("00049")
        await expect(cards).to_have_count(1)
        await page.get_by_label("Filter").fill("nobody")
        await expect(page.locator("#no-match")).to_contain_text("nobody")
