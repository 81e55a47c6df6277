"""The examples of docs/ways-in.md: configurations are run, commands typed."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from proxy.config import loader
from proxy.runtime.app import App
from proxy.sandbox import Sandbox, Settings
from tests.support import needs
from tests.support.program import environment
from tests.support.running import until


def commands(text: str) -> list[str]:
    """Return the commands in a section."""
    return text.partition("```sh\n")[2].partition("```")[0].splitlines()


PAGE = (Path(__file__).parents[2] / "docs/ways-in.md").read_text(encoding="utf-8")
PARTS = [part.partition("\n") for part in PAGE.split("\n## ")]
EXAMPLES = {
    title: (text.partition("```yaml\n")[2].partition("```")[0], commands(text))
    for title, _, text in PARTS
    if "```yaml\n" in text
}
ORIGIN = "127.0.0.1:8080"

Answers = list[Any]
Check = Callable[[Answers, Sandbox], None]
CHECKS: dict[str, Check] = {}

pytestmark = needs.programs("curl")


def check(title: str) -> Callable[[Check], Check]:
    """Register the check of an example."""

    def keep(function: Check) -> Check:
        CHECKS[title] = function
        return function

    return keep


def targets(bank: Sandbox) -> list[str]:
    """Return the targets of applications' requests at the bank."""
    asked = [arrival.target for arrival in bank.bank.arrivals]
    return [target for target in asked if "institution-users" not in target]


@check("Another base URL")
def _base_url(responses: Answers, bank: Sandbox) -> None:
    assert all(response["accounts"] for response in responses)
    assert targets(bank) == ["/digitalbanking/v1/accounts"] * 2


@check("Only an HTTP proxy")
def _http_proxy(responses: Answers, bank: Sandbox) -> None:
    assert all(response["accounts"] for response in responses)
    assert targets(bank) == ["/digitalbanking/v1/accounts"] * 2


@check("A Unix socket")
def _unix_socket(responses: Answers, _bank: Sandbox) -> None:
    assert responses[0]["accounts"]


@check("Several applications")
def _several(responses: Answers, bank: Sandbox) -> None:
    assert all(response["accounts"] for response in responses)
    asked = [arrival.header("institutionId") for arrival in bank.bank.arrivals]
    assert asked[:3] == ["00016", "00017", "00016"]
    assert [target.partition("?")[2] for target in targets(bank)] == [
        *("", "", "hostUserId=880017", "loginId=acorn.owner&institutionCustomerId=770001")
    ]


@check("What the application sees of it")
def _seen(responses: Answers, _bank: Sandbox) -> None:
    hrefs = [link["href"] for link in responses[0]["links"]]
    assert hrefs
    assert all(href.startswith("https://bank.desk.example/v1/transactions?") for href in hrefs)


def test_every_example_has_its_check() -> None:
    """By its title."""
    assert list(EXAMPLES) == list(CHECKS)


@pytest.mark.parametrize("title", CHECKS)
async def test_example_works(title: str, tmp_path: Path) -> None:
    """It is loaded unchanged, and its commands work."""
    written, lines = EXAMPLES[title]
    async with run_example(written, tmp_path) as (app, bank):
        responses = [json.loads(await typed(line, written, app, bank, tmp_path)) for line in lines]
        assert responses
        CHECKS[title](responses, bank)


@asynccontextmanager
async def run_example(written: str, folder: Path) -> AsyncIterator[tuple[App, Sandbox]]:
    """Run a proxy with the page's configuration on free ports, with the sandbox."""
    (folder / "client-secret").write_text("sandbox-secret\n")
    text = re.sub(r"/(?:etc|run)/candescent-proxy/", f"{folder}/", written)
    (folder / "config.yaml").write_text(re.sub(r"(127\.0\.0\.1):\d+", r"\1:0", text))
    async with Sandbox(Settings(base_path="/digitalbanking")) as bank:
        flags = {"base_url": bank.url, "admin": "127.0.0.1:0"}
        if "\nlisten:" not in text:
            flags["listen"] = "127.0.0.1:0"
        config = loader.load(folder / "config.yaml", {}, flags)
        app = App(config, loader.logins(config))
        await app.start()
        try:
            await until(lambda: app.readiness().is_ready)
            yield app, bank
        finally:
            await app.stop()


async def typed(line: str, written: str, app: App, bank: Sandbox, folder: Path) -> str:
    """Type a command, with the actual ports; return its output."""
    listeners = yaml.safe_load(written).get("listeners", {})
    places = {"main": ORIGIN} | {name: one["listen"] for name, one in listeners.items()}
    for name, place in places.items():
        line = line.replace(place, str(app.addresses[name]))
    line = line.replace("/run/candescent-proxy/", f"{folder}/")
    line = line.replace("api.candescent.com/digitalbanking", bank.url.removeprefix("http://"))
    process = await asyncio.create_subprocess_shell(
        line.replace("curl ", "curl --silent --show-error --fail-with-body --max-time 20 "),
        stdout=asyncio.subprocess.PIPE,
        env=environment(),
    )
    reported, _ = await process.communicate()
    assert process.returncode == 0, reported.decode()
    return reported.decode()
