"""The steps of ``demo``: the proxy in front of the embedded bank."""

import asyncio
import json
import textwrap
from collections.abc import Callable
from typing import Any

import aiohttp

from proxy.cli.typed_name import typed_name
from proxy.config.loader import logins
from proxy.config.model import Config
from proxy.errors import ConfigError
from proxy.runtime.app import App
from proxy.runtime.serve import stop_signal
from proxy.sandbox import Arrival, Sandbox, Settings
from proxy.server.address import Address
from proxy.telemetry import logs
from proxy.telemetry.telemetry_settings import LogSettings

LIFETIME = 8
"""Lifetime of the demo's tokens in seconds: short enough to watch a renewal."""

_SHOWN_HEADERS = (
    "authorization",
    "transactionid",
    "institutionid",
    "correlationid",
    "content-type",
)


async def show(*, once: bool) -> int:
    """Run the demo; return 0 if every step succeeded, else 1."""
    logs.set_up(LogSettings(level="error", format="console"))
    async with Sandbox(Settings(lifetime=LIFETIME)) as bank:
        app = await _start(bank)
        try:
            succeeded = await _run_steps(app, bank)
            if not once and succeeded:
                await _wait_for_stop(app, bank)
        finally:
            await app.stop()
    _print_step("Next", _next_steps(typed_name()))
    return 0 if succeeded else 1


def _next_steps(program: str) -> str:
    return (
        f"{program} init     (with your own keys: a few questions, then a configuration)\n"
        f"{program} sandbox  (without keys: a bank to try it on, see docs/quickstart.md)"
    )


async def _start(bank: Sandbox) -> App:
    """Start a proxy on its default ports, or on free ones if those are in use."""
    for ports in ((8080, 9090), (0, 0)):
        app = _app(bank, *(Address(host="127.0.0.1", port=port) for port in ports))
        try:
            await app.start()
        except ConfigError:
            continue
        return app
    raise ConfigError(["demo: no free port on 127.0.0.1"])


def _app(bank: Sandbox, listen: Address, admin: Address) -> App:
    client_id, client_secret = next(iter(bank.bank.settings.clients.items()))
    config = Config.model_validate(
        {
            "base_url": bank.url,
            "client_id": client_id,
            "client_secret": client_secret,
            "institution_id": "00016",
            "listen": listen,
            "admin": admin,
            "grace_period": 2,
            "log": {"level": "error", "access": "off"},
        }
    )
    return App(config, logins(config))


async def _run_steps(app: App, bank: Sandbox) -> bool:
    proxy = f"http://{app.data_address}"
    _print_step(
        "candescent-proxy demo",
        f"Bank:        {bank.url} (a sandbox; its tokens live {LIFETIME} s)\n"
        f"Proxy:       {proxy} (applications call here, without credentials)\n"
        f"Status page: http://{app.admin_address}/ (in a browser)",
    )
    await _until(lambda: app.readiness().is_ready, 10)
    async with aiohttp.ClientSession(proxy) as caller:
        succeeded = await _call(
            caller, bank, "1. Read accounts", "GET", "/v1/accounts?loginId=juniper.quill"
        )
        transfer = {"fromAccountId": "A1", "toAccountId": "A2", "amount": "12.50"}
        succeeded &= await _call(caller, bank, "2. Move money", "POST", "/v1/transfers", transfer)
        succeeded &= await _watch_refresh(bank)
        succeeded &= await _call(
            caller, bank, "4. Read again, with the new token", "GET", "/v1/accounts"
        )
    _print_step("What the operator sees", _token_series(app))
    return succeeded


async def _call(
    caller: aiohttp.ClientSession,
    bank: Sandbox,
    title: str,
    method: str,
    path: str,
    body: dict[str, str] | None = None,
) -> bool:
    async with caller.request(method, path, json=body) as response:
        text = await response.text()
    arrival = bank.bank.arrivals[-1]
    sent = f"{method} {path}" + (f"\n{json.dumps(body)}" if body else "")
    transaction = response.headers.get("transactionId", "(none)")
    _print_step(
        title,
        f"The caller sent\n{_indent(sent)}\n"
        f"The bank saw\n{_indent(_describe_arrival(arrival))}\n"
        f"What came back\n"
        f"{_indent(f'{response.status}, transactionId {transaction}')}\n{_indent(_short(text))}",
    )
    return response.status < 300


async def _watch_refresh(bank: Sandbox) -> bool:
    """Wait until the proxy has renewed its token."""
    before = len(bank.bank.token_requests)
    _print_step("3. Wait", f"No requests. The token expires {LIFETIME} s after its issue …")
    try:
        await _until(lambda: len(bank.bank.token_requests) > before, LIFETIME + 5)
    except TimeoutError:
        print("  The token was not renewed.")
        return False
    print(f"  … and the proxy has fetched its successor: token request no. {before + 1}.")
    return True


async def _until(condition: Callable[[], bool], seconds: float) -> None:
    """Wait until ``condition`` is true; raises ``TimeoutError`` after ``seconds``."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - the sandbox has no event for it
            await asyncio.sleep(0.05)


async def _wait_for_stop(app: App, bank: Sandbox) -> None:
    _print_step(
        "Your turn (Ctrl-C ends it)",
        f"Status page: http://{app.admin_address}/\n"
        f"curl -i 'http://{app.data_address}/v1/accounts?loginId=juniper.quill'\n"
        f"curl -i 'http://{app.data_address}/echo/anything'\n"
        f"curl -s 'http://{app.admin_address}/metrics' | grep candescent_proxy_token",
    )
    request_count = len(bank.bank.token_requests)
    ended = stop_signal()
    while not ended.done():
        await asyncio.wait([ended], timeout=0.5)
        if len(bank.bank.token_requests) > request_count:
            request_count = len(bank.bank.token_requests)
            print(f"  token request no. {request_count}", flush=True)


def _describe_arrival(arrival: Arrival) -> str:
    lines = [f"{arrival.method} {arrival.target}"]
    for name, value in arrival.headers:
        if name.lower().decode() in _SHOWN_HEADERS:
            text = value.decode()
            lines.append(f"{name.decode()}: {text[:18] + '…' if len(text) > 60 else text}")
    return "\n".join(lines)


def _token_series(app: App) -> str:
    text, _ = app.metrics.exposition("")
    names = ("token_refreshes_total", "token_expiry", "requests_total")
    return "\n".join(
        line
        for line in text.decode().splitlines()
        if line.startswith("candescent_proxy") and any(name in line for name in names)
    )


def _short(text: str) -> str:
    try:
        document: Any = json.loads(text)
    except ValueError:
        return textwrap.shorten(text, 300)
    lines = json.dumps(document, indent=2).splitlines()
    return "\n".join(lines[:12] + (["…"] if len(lines) > 12 else []))


def _indent(text: str) -> str:
    return textwrap.indent(text, "    ")


def _print_step(title: str, text: str) -> None:
    print(f"\n── {title} {'─' * (70 - len(title))}\n{text}", flush=True)
