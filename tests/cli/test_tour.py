"""The demo beyond ``--once``."""

import asyncio
import logging
import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from signal import SIGTERM, getsignal, signal

import pytest
import structlog

from proxy.cli import tour
from proxy.errors import ConfigError
from proxy.runtime import serve
from proxy.sandbox import Sandbox
from tests.support.running import DEADLINE, until


@contextmanager
def usual_ports_taken() -> Iterator[None]:
    """Occupy the demo's default ports."""
    with ExitStack() as stack:
        for port in (8080, 9090):
            with suppress(OSError):
                stack.enter_context(socket.create_server(("127.0.0.1", port)))
        yield


@pytest.fixture
def as_before() -> Iterator[None]:
    """Restore log and signal handlers."""
    root, handler = logging.getLogger(), getsignal(SIGTERM)
    handlers, level = root.handlers, root.level
    yield
    root.handlers = handlers
    root.setLevel(level)
    structlog.reset_defaults()
    signal(SIGTERM, handler)


async def test_demo_uses_other_ports_if_needed() -> None:
    """When its default ports are in use."""
    with usual_ports_taken():
        async with Sandbox() as bank:
            app = await tour._start(bank)
            try:
                await until(lambda: app.readiness().is_ready)
                assert app.data_address.port not in (0, 8080)
                assert app.admin_address.port not in (0, 9090)
            finally:
                await app.stop()


async def test_demo_without_any_port_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a message."""

    async def refuse(*_: object, **__: object) -> None:
        raise ConfigError(["listen: cannot listen"])

    monkeypatch.setattr("proxy.runtime.app.App.start", refuse)
    async with Sandbox() as bank:
        with pytest.raises(ConfigError) as caught:
            await tour._start(bank)
    assert caught.value.errors == ["demo: no free port on 127.0.0.1"]


def test_demo_runs_until_a_signal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, as_before: None
) -> None:
    """It prints a command to try, and refreshes tokens."""
    monkeypatch.setattr(tour, "LIFETIME", 2)
    said = ""

    async def watch() -> int:
        nonlocal said
        shown = asyncio.create_task(tour.show(once=False))
        async with asyncio.timeout(DEADLINE):
            while "token request no. 3" not in said:
                said += capsys.readouterr().out
                await asyncio.sleep(0.05)
        os.kill(os.getpid(), SIGTERM)
        return await shown

    assert serve.run(watch()) == 0
    assert "curl -i 'http://" in said
    assert "Status page: http://127.0.0.1:" in said.partition("Your turn")[2]
