"""``top``: on a terminal while the proxy stops and returns, once, and in a pipe."""

import asyncio
import io
import re
from collections.abc import Iterator
from pathlib import Path
from signal import SIGTERM

import pytest
from rich.console import Console

from proxy.cli import admin_client
from proxy.cli.commands.top import document, poll, reason
from proxy.sandbox import Sandbox
from proxy.server.address import Address
from tests.cli.commands.inside import Inside
from tests.support.process import process
from tests.support.program import program
from tests.support.running import running, until
from tests.support.terminal import terminal


async def test_display_follows_the_proxy(bank: Sandbox, tmp_path: Path) -> None:
    """Ctrl-C exits with 130 and no output."""
    async with process(tmp_path / "x.yaml", bank.url) as first:
        admin, listen = first.admin, first.listen
        async with terminal("top", "--every", "0.1", "--admin", admin, cwd=tmp_path) as screen:
            await screen.sees("v2:00016")
            assert await first.program.end(SIGTERM) == 0
            await screen.sees(f"no response from {admin}")
            await screen.sees("last seen: version")
            async with process(tmp_path / "x.yaml", bank.url, admin=admin, listen=listen):
                await screen.sees("v2:00016")
            screen.types("\x03")
            assert await screen.ends() == 130
            assert "Traceback" not in screen.text


async def test_once_prints_one_frame(bank: Sandbox, inside: Inside) -> None:
    """Without colours; exit code 0."""
    async with running(bank) as app:
        code, out, err = await inside.run("top", "--once", "--admin", str(app.admin_address))
    assert (code, err) == (0, "")
    assert out.startswith("ok     ")
    assert "\x1b" not in out


async def test_once_without_a_proxy_exits_with_1(inside: Inside) -> None:
    """It names the address."""
    code, out, _ = await inside.run("top", "--once", "--admin", "127.0.0.1:9")
    assert code == 1
    assert out.startswith("gone   no response from 127.0.0.1:9")


async def test_disabled_status_page_is_explained(bank: Sandbox, inside: Inside) -> None:
    """By the proxy's own message."""
    async with running(bank, status_page="off") as app:
        code, out, _ = await inside.run("top", "--once", "--admin", str(app.admin_address))
    assert code == 1
    assert "status_page is off" in out


async def test_pipe_that_closes_ends_it(bank: Sandbox) -> None:
    """Quietly."""
    async with (
        running(bank) as app,
        program("top", "--every", "0.05", "--admin", str(app.admin_address)) as watching,
    ):
        await watching.wait_for_output("v2:00016")
        seen = len(watching.out)
        await until(lambda: len(watching.out) > 2 * seen)
        watching.process._transport.get_pipe_transport(1).close()  # type: ignore[attr-defined]
        assert await watching.end() == 1
        assert watching.err == []


def frames(*said: tuple[bool, str]) -> Iterator[tuple[bool, str]]:
    """Return the frames for these responses at intervals of ten seconds."""
    responses, times = iter(said), iter(range(0, 1000, 10))
    address = Address(host="127.0.0.1", port=9090)
    console = Console(file=io.StringIO(), width=120)
    for is_there, shown in poll(address, lambda: next(responses), lambda: next(times), console):
        with console.capture() as capture:
            console.print(shown)
        yield is_there, capture.get()


@pytest.mark.parametrize(
    ("response", "why"),
    [
        ((True, "<html>"), "the response from 127.0.0.1:9090 is not candescent-proxy's"),
        ((True, '{"format": 2}'), "the response from 127.0.0.1:9090 is not candescent-proxy's"),
        ((False, "candescent-proxy: no response"), "no response"),
        ((False, ""), "the response is empty"),
        ((False, "Not here.\nMore."), "Not here."),
    ],
)
def test_invalid_status_is_explained(response: tuple[bool, str], why: str) -> None:
    """In a line, with its duration after the second."""
    watched = frames(response, response)
    is_there, shown = next(watched)
    assert not is_there
    assert re.match(rf"gone +{re.escape(why)}\n", shown)
    assert "for 10 s" in next(watched)[1]


async def test_absences_are_counted_separately(bank: Sandbox) -> None:
    """The duration restarts when the proxy was back; its last status stays."""
    async with running(bank) as app:
        said = await asyncio.to_thread(admin_client.probe, app.admin_address, "api/status")
    absence = (False, "no response")
    watched = frames(absence, absence, said, absence)
    shown = [next(watched)[1] for _ in range(4)]
    assert "for 0 s" in shown[0]
    assert "for 10 s" in shown[1]
    assert shown[2].startswith("ok ")
    assert "for 0 s" in shown[3]
    assert "last seen: version" in shown[3]


def test_document_of_another_format_is_refused() -> None:
    """Its content is not interpreted."""
    assert document('{"format": 1}') == {"format": 1}
    assert document('{"format": 2}') is None
    assert document("[1]") is None
    assert reason("x" * 500) == "[...]"
