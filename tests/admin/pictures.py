"""Takes the screenshots of the status page in docs/images, of a running proxy.

::

    python -m tests.admin.pictures                   fifteen minutes of load, then the screenshots
    python -m tests.admin.pictures --minutes 1       a preview of them
    python -m tests.admin.pictures --states          only what the page says in each state

The bank is the sandbox; load and faults are generated here.
"""

import argparse
import asyncio
import io
import math
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import aiohttp
from PIL import Image
from playwright.async_api import Browser

from proxy.runtime.app import App
from proxy.sandbox import Fault, Sandbox, changed
from tests.admin.test_page import home
from tests.admin.test_page_states import STATES
from tests.support.browser import chromium, opened
from tests.support.running import running, until, url

FOLDER = Path(__file__).parents[2] / "docs" / "images"
COLOURS = 200
GAP = 44
"""Pixels between two states."""
PATHS = (
    *("/v1/accounts?hostUserId=880017",) * 6,
    *("/v1/transactions?accountId=880017-1&hostUserId=880017",) * 4,
    *("/v1/customers/880017:accounts",) * 3,
    "/v1/banking-images/77123",
    "/db-users/v1/institution-users/juniper.quill?userIdType=LOGIN_ID",
    "/bankingservices/v2/fis/00016/fiCustomers/880017?fiCustomerIdType=GUID",
)


class VaryingLoad:
    """A varying number of clients; one request in two hundred is for an unknown institution."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._chance = random.Random(7)  # noqa: S311 - the same load each time

    async def run(self) -> None:
        """Send requests until cancelled."""
        async with aiohttp.ClientSession(url(self._app)) as session, asyncio.TaskGroup() as group:
            for at in range(1_000_000):
                wanted = 2.6 + 1.6 * math.sin(at / 90) + self._chance.gauss(0, 0.7)
                for _ in range(max(0, round(wanted))):
                    group.create_task(self._call(session))
                await asyncio.sleep(0.1)

    async def _call(self, session: aiohttp.ClientSession) -> None:
        headers = {"institutionId": "00099"} if self._chance.random() < 0.005 else {}
        try:
            async with session.get(self._chance.choice(PATHS), headers=headers) as response:
                await response.read()
        except aiohttp.ClientError:
            return


def set_delay(bank: Sandbox, chance: random.Random) -> None:
    """Give the bank's responses a realistic delay."""
    for _ in range(20):
        delay = chance.lognormvariate(-3.2, 0.5)
        bank.bank.faults.append(Fault("resource", delay=delay, times=chance.randint(1, 9)))


async def vary_delay(bank: Sandbox) -> None:
    """Change the delay again and again, until cancelled."""
    chance = random.Random(11)  # noqa: S311 - the same delays each time
    while True:
        bank.bank.faults[:] = [rule for rule in bank.bank.faults if not rule.is_used_up]
        if len(bank.bank.faults) < 20:
            set_delay(bank, chance)
        await asyncio.sleep(0.2)


async def take(browser: Browser, app: App, name: str, **more: Any) -> None:
    """Take one screenshot."""
    async with opened(browser, f"http://{app.admin_address}/", **more) as page:
        await page.wait_for_selector(".plot svg")
        save(Image.open(io.BytesIO(await page.screenshot())), name)


def save(picture: Image.Image, name: str) -> None:
    """Write a picture, with a reduced palette."""
    small = picture.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
    small.save(FOLDER / f"{name}.png", optimize=True)


async def take_states(browser: Browser) -> None:
    """Take what the page says in each state, one below the other."""
    parts = []
    for cause, state, _, _ in STATES:
        async with (
            cause() as app,
            opened(browser, home(app), viewport={"width": 860, "height": 900}) as page,
        ):
            await page.wait_for_selector(f"#health[data-state={state}]")
            shot = await page.locator("#health").screenshot()
            parts.append(Image.open(io.BytesIO(shot)))
    height = sum(part.height + GAP for part in parts)
    whole = Image.new("RGB", (parts[0].width, height), parts[0].getpixel((0, 0)))
    top = GAP // 2
    for part in parts:
        whole.paste(part, (0, top))
        top += part.height + GAP
    save(whole, "status-states")


async def take_all(minutes: float) -> None:
    """Run the load, then take the screenshots, with and without faults."""
    async with chromium() as browser:
        await take_states(browser)
    if not minutes:
        return
    seconds = 60 * minutes
    async with Sandbox() as bank:
        bank.bank.settings = changed(bank.bank.settings, {"lifetime": 300, "v1_lifetime": 400})
        await at_work(bank, seconds)


async def at_work(bank: Sandbox, seconds: float) -> None:
    """Run a proxy in front of a bank under load."""
    async with (
        running(bank, token={"prefetch": "v2,v1"}) as app,
        chromium() as browser,
        asyncio.TaskGroup() as group,
    ):
        tasks = [group.create_task(VaryingLoad(app).run()), group.create_task(vary_delay(bank))]
        await asyncio.sleep(0.55 * seconds)
        bank.bank.faults.insert(0, Fault("resource", status=503, times=90))
        bank.bank.faults.insert(0, Fault("resource", reset=True, late=True, times=14))
        await asyncio.sleep(0.45 * seconds)
        await take(browser, app, "status-page", viewport={"width": 1160, "height": 1330})
        bank.bank.faults.insert(0, Fault("token", code="CMN_90004"))
        await until(lambda: any(entry.failures for entry in app.tokens.entries()), 300)
        wide = {"width": 1160, "height": 760}
        await take(browser, app, "status-page-dark", viewport=wide, color_scheme="dark")
        for task in tasks:
            task.cancel()


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description="Take the pictures of the status page.")
    parser.add_argument("--minutes", type=float, default=15.5, help="of load before them")
    parser.add_argument("--states", action="store_true", help="only the states")
    options = parser.parse_args(arguments)
    asyncio.run(take_all(0 if options.states else options.minutes))


if __name__ == "__main__":
    main()
