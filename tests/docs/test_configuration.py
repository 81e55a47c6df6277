"""The examples of docs/configuration.md, loaded and run with the sandbox."""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest

from proxy.config import loader
from proxy.config.model import Config
from proxy.runtime.app import App
from proxy.sandbox import Sandbox, Settings
from tests.support.running import until, url
from tests.tokens.fleet.encryption_keys import key_line

PAGE = (Path(__file__).parents[2] / "docs/configuration.md").read_text(encoding="utf-8")
PARTS = [part.partition("\n") for part in PAGE.split("\n### ")]
EXAMPLES = {
    title: text.partition("```yaml\n")[2].partition("```")[0]
    for title, _, text in PARTS
    if "```yaml\n" in text
}
FLEET = (Path(__file__).parents[2] / "docs/fleet.md").read_text(encoding="utf-8")
EXAMPLES["A fleet on one token"] = FLEET.partition("```yaml\n")[2].partition("```")[0]
SECRETS = {
    "client-secret": "sandbox-secret",
    "other-secret": "other-secret",
    "juniper-password": "moonlight",
    "acorn-password": "lanterns",
    "caller-secret": "open-sesame",
    "next-caller-secret": "open-barley",
    "encryption-key": key_line(),
    "store-password": "moss-of-the-store",
}
BANK = Settings(
    clients={"sandbox-client": "sandbox-secret", "other-client": "other-secret"},
    client_institutions={"sandbox-client": ("00016", "00018"), "other-client": ("00017",)},
)
V1 = "/subscriptions/v1/fis/00016/echo"


@dataclass
class RunningExample:
    """A running example."""

    bank: Sandbox
    app: App
    config: Config
    session: aiohttp.ClientSession
    is_over: bool = False

    async def stop(self) -> None:
        """Stop the proxy, once."""
        if not self.is_over:
            self.is_over = True
            await self.app.stop()

    async def status(self, path: str, method: str = "GET", **headers: str) -> int:
        """Send a request; return the status."""
        async with self.session.request(method, path, headers=headers) as answer:
            await answer.read()
            return answer.status

    @property
    def target(self) -> str:
        """The last target at the bank."""
        return self.bank.bank.arrivals[-1].target


@asynccontextmanager
async def run_example(example: str, folder: Path) -> AsyncIterator[RunningExample]:
    """Write an example and its files, and run it on free ports."""
    for name, secret in SECRETS.items():
        (folder / name).write_text(secret + "\n")
    text = re.sub(r"/(?:etc|var/lib)/candescent-proxy/", f"{folder}/", example)
    async with Sandbox(BANK) as bank:
        text = text.replace("https://api.other-bank.example/digitalbanking", bank.url)
        (folder / "config.yaml").write_text(re.sub(r":80[89]\d\b", ":0", text))
        flags = {"base_url": bank.url, "admin": "127.0.0.1:0"}
        if "\nlisten:" not in text:
            flags["listen"] = "127.0.0.1:0"
        config = loader.load(folder / "config.yaml", {}, flags)
        app = App(config, loader.logins(config))
        await app.start()
        # A listener for all addresses is called by one of them.
        async with aiohttp.ClientSession(url(app).replace("//0.0.0.0:", "//127.0.0.1:")) as session:
            started = RunningExample(bank, app, config, session)
            try:
                await until(lambda: app.readiness().is_ready)
                yield started
            finally:
                await started.stop()


Check = Callable[[RunningExample], Awaitable[None]]
CHECKS: dict[str, Check] = {}


def check(title: str) -> Callable[[Check], Check]:
    """Register the check of an example."""

    def keep(function: Check) -> Check:
        CHECKS[title] = function
        return function

    return keep


@check("Minimal")
async def _least(example: RunningExample) -> None:
    assert await example.status("/v1/accounts") == 200
    assert await example.status(V1) == 200


@check("Several institutions")
async def _several(example: RunningExample) -> None:
    asked = [await example.status("/echo", institutionId=f"0001{last}") for last in (6, 7, 8, 9)]
    assert asked == [200, 200, 200, 403]
    clients = {call.institution: call.client for call in example.bank.bank.token_requests}
    assert clients == {
        "00016": "sandbox-client",
        "00017": "other-client",
        "00018": "sandbox-client",
    }


@check("Institutions at another address, users of one institution")
async def _origins(example: RunningExample) -> None:
    asked = [await example.status("/echo", institutionId=f"0001{last}") for last in (6, 7)]
    assert asked == [200, 200]
    assert [origin.upstream.max_connections for origin in example.config.origins] == [128, 32]
    for name in ("juniper", "acorn"):
        async with example.session.get(f"http://{example.app.addresses[name]}/echo") as response:
            assert response.status == 200
        sent = (example.bank.bank.arrivals[-1].header("Authorization") or "").split()[-1]
        owner = example.bank.bank.tokens[sent].user
        assert owner is not None
        assert owner.username == name


@check("V1, the legacy calls")
async def _v1(example: RunningExample) -> None:
    await until(lambda: len(example.bank.bank.token_requests) == 2)
    (asked,) = [call for call in example.bank.bank.token_requests if call.kind == "V1"]
    sent = {name.lower(): value for name, value in asked.headers}
    assert sent[b"user-agent"] == b"Teller/2.1;Kiosk"
    assert sent[b"originating_ip"] == b"192.0.2.17"
    await example.status("/destinations/v1/x")
    assert example.bank.bank.arrivals[-1].header("di_tid")
    assert await example.status(V1) == 200


@check("Only what the application needs")
async def _access(example: RunningExample) -> None:
    assert await example.status("/v1/accounts") == 200
    look_up = "/db-users/v1/institution-users/acorn.owner?userIdType=LOGIN_ID"
    assert await example.status(look_up) == 200
    for method, path in (("POST", "/v1/accounts"), ("GET", "/v1/transfers/7"), ("GET", "/v2/x")):
        assert await example.status(path, method) == 403


@check("For other machines")
async def _others(example: RunningExample) -> None:
    assert await example.status("/v1/accounts") == 403
    for secret in ("open-sesame", "open-barley"):
        shown = {"Proxy-Authorization": f"Bearer {secret}"}
        assert await example.status("/v1/accounts", **shown) == 200
    assert await example.status("/v1/accounts", **{"Proxy-Authorization": "Bearer guess"}) == 403


@check("Logs, timeouts and limits")
async def _limits(example: RunningExample) -> None:
    assert await example.status("/v1/banking-images/7?bytes=2000000") == 200
    assert example.config.upstream.first_byte_timeout == 180
    assert (example.config.log.format, example.config.log.access) == ("json", "on")
    address = example.app.data_address
    reader, writer = await asyncio.open_connection(address.host, address.port)
    writer.write(b"POST /upload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 52428801\r\n\r\n")
    assert (await reader.readline()).split()[1] == b"413"
    writer.close()
    await example.stop()
    assert not list(example.bank.bank.live_tokens())


@check("Behind a company's proxy")
async def _company_proxy(example: RunningExample) -> None:
    assert example.config.upstream.proxy == "environment"
    assert await example.status("/v1/accounts") == 200  # this machine is reached directly


@check("A fleet on one token")
async def _fleet(example: RunningExample) -> None:
    # There is no such store here, so this also tests a proxy without its store.
    assert await example.status("/v1/accounts") == 200
    assert example.app.metrics.store.is_available() is False


def test_every_example_has_its_check() -> None:
    """By its title."""
    assert list(EXAMPLES) == list(CHECKS)


@pytest.mark.parametrize("title", CHECKS)
async def test_example_works(title: str, tmp_path: Path) -> None:
    """It is loaded unchanged and does what its text says."""
    async with run_example(EXAMPLES[title], tmp_path) as example:
        await CHECKS[title](example)


def exported() -> dict[str, str]:
    """The variables that the page's shell example sets."""
    (block,) = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
    return dict(re.findall(r"^export (\w+)=(\S+)$", block, re.MULTILINE))


def test_variables_of_the_sdk_suffice() -> None:
    """Without a file or flag."""
    config = loader.load(None, exported(), {})
    assert config.url.geturl() == "https://api.candescent.com/digitalbanking/stage"
    assert (config.institution_id, config.host_user_id) == ("00016", "880017")
    assert loader.logins(config).default.credentials.client_id == "sandbox-client"


@pytest.mark.parametrize(
    "variable",
    [
        *("CLIENT_ID", "CLIENT_SECRET", "INSTITUTION_ID", "ENVIRONMENT", "USERNAME", "PASSWORD"),
        *("HOST_USER_ID", "LOGIN_ID", "INSTITUTION_CUSTOMER_ID", "BEARER_TOKEN"),
    ],
)
def test_every_variable_of_the_sdk_is_a_setting(variable: str) -> None:
    """Users of the SDK need no others."""
    errors: list[str] = []
    loader.read_environment({f"CANDESCENT_{variable}": "stage"}, errors)
    assert errors == []
