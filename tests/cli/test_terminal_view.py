"""Frames of ``top``, from real ``/api/status`` documents."""

import asyncio
import io
import json
from typing import Any

import aiohttp
import pytest
from rich.console import Console, RenderableType

from proxy.cli import admin_client
from proxy.cli.terminal_view import frame, span, spark, unreachable_frame
from proxy.runtime.app import App
from proxy.sandbox import Fault, Sandbox
from tests.support.running import running, until, url


def drawn(shown: RenderableType, width: int = 160) -> str:
    """Return a frame as text."""
    stream = io.StringIO()
    Console(file=stream, width=width).print(shown)
    return stream.getvalue()


async def status(app: App) -> dict[str, Any]:
    """Return the status of a running proxy."""
    is_well, said = await asyncio.to_thread(admin_client.probe, app.admin_address, "api/status")
    assert is_well, said
    document: dict[str, Any] = json.loads(said)
    return document


async def call(app: App, path: str) -> None:
    """Send a request."""
    async with aiohttp.ClientSession(url(app)) as session, session.get(path) as response:
        await response.read()


async def test_healthy_proxy() -> None:
    """Status, token expiry, rate, and the last request."""
    async with Sandbox() as bank, running(bank) as app:
        await call(app, "/v1/accounts?loginId=juniper.quill")
        await until(lambda: app.forwarder.in_flight == 0)
        document = await status(app)
        shown = drawn(frame(document))
    assert shown.startswith("ok     ")
    assert bank.url in shown
    assert str(app.admin_address) in shown
    assert "v2:00016 fresh" in " ".join(shown.split())
    assert "GET /v1/accounts" in shown
    assert document["requests"][0]["transactionId"] in shown
    assert "requests/s" in shown
    assert "juniper" not in shown


async def test_failing_proxy() -> None:
    """Problem, since when, and remedy; why a token is missing."""
    async with Sandbox() as bank:
        bank.bank.faults.append(Fault("token", code="CMN_90004"))
        async with running(bank, ready=False) as app:
            await until(lambda: "client id and secret" in str(app.readiness().reasons))
            await call(app, "/v1/accounts")
            await until(lambda: app.forwarder.in_flight == 0)
            document = await status(app)
            shown = drawn(frame(document), 200)
    assert shown.startswith("failing")
    assert "missing" in shown
    assert "The bank refused the client id and secret" in shown
    assert "503 " in shown
    assert document["errors"][0]["reason"] in shown


async def test_many_institutions() -> None:
    """Tokens with a problem have lines, many fresh ones share one; other problems are listed."""
    async with Sandbox() as bank, running(bank) as app:
        document = await status(app)
    (token,) = document["tokens"]
    failure = {"reason": "x", "detail": "Refused.", "advice": "Ask.", "code": None}
    bad = {"state": "missing", "failure": failure, "expires_at": None}
    document["tokens"] = [
        token | {"institution": f"{at:05}"} | (bad if at < 20 else {}) for at in range(500)
    ]
    document["tokens_in_all"] = 500
    document["health"]["others"] = [
        {"state": "warning", "sentence": "A reload failed.", "advice": "Correct it."}
    ]
    shown = drawn(frame(document))
    assert "warning A reload failed. Correct it." in shown
    assert shown.count("v2:000") == 12
    assert " and 8 more" in shown
    assert "480 other tokens are fresh; the first expires in" in shown
    assert len(shown.splitlines()) < 40


async def test_several_listeners() -> None:
    """Each request has its listener."""
    other = {"other": {"listen": "127.0.0.1:0"}}
    async with Sandbox() as bank, running(bank, listeners=other) as app:
        await call(app, "/v1/accounts")
        await until(lambda: app.forwarder.in_flight == 0)
        shown = drawn(frame(await status(app)))
    (line,) = [line for line in shown.splitlines() if "GET /v1/accounts" in line]
    assert " main " in line
    assert "listener" in shown


async def test_frame_fits_a_small_terminal() -> None:
    """No line is too long."""
    async with Sandbox() as bank, running(bank) as app:
        await call(app, "/echo/" + "x" * 300)
        document = await status(app)
    assert max(map(len, drawn(frame(document), 60).splitlines())) <= 60


async def test_markup_in_paths_is_literal() -> None:
    """Brackets do not colour."""
    async with Sandbox() as bank, running(bank) as app:
        await call(app, "/echo/[red]x[/red]")
        await until(lambda: app.forwarder.in_flight == 0)
        document = await status(app)
        for request in document["requests"]:
            request["path"] = "/echo/[red]x[/red]"
    assert "/echo/[red]x[/red]" in drawn(frame(document))


async def test_terminal_without_unicode() -> None:
    """Bars are ASCII."""
    async with Sandbox() as bank, running(bank) as app:
        document = await status(app)
    document["series"]["per_second"] = [0.0, 1.0, 2.0]
    shown = drawn(frame(document, is_unicode=False))
    assert " +#\n" not in shown
    assert any(
        line.rstrip().endswith("=%") or line.rstrip().endswith("+%") for line in shown.splitlines()
    )


def test_missing_proxy() -> None:
    """Reason and duration."""
    shown = drawn(unreachable_frame("no response from 127.0.0.1:9090", 61, None))
    assert "no response from 127.0.0.1:9090" in shown
    assert "for 1 min 01 s" in shown
    assert "last seen" not in shown


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-1, "0 s"),
        (59.9, "59 s"),
        (60, "1 min 00 s"),
        (3_599, "59 min 59 s"),
        (3_660, "1 h 01 min"),
        (90_000, "1 d 01 h"),
        (2_592_000, "30 d 00 h"),
    ],
)
def test_duration(seconds: float, text: str) -> None:
    """The two greatest units."""
    assert span(seconds) == text


def test_sparkline() -> None:
    """The maximum is a full bar, small values are visible, zero is empty."""
    assert spark([0, 0.001, 5, 10]) == " ▁▄█"
    assert spark([0.0, 0.0]) == "  "
    assert spark([]) == ""
    assert spark([1, 2], " .#") == ".#"
