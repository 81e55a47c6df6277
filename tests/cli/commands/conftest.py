"""Fixtures of the command tests."""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from proxy.sandbox import Sandbox
from tests.cli.commands.inside import Inside
from tests.support.program import environment


@pytest.fixture
async def bank() -> AsyncIterator[Sandbox]:
    """A bank."""
    async with Sandbox() as bank:
        yield bank


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    """The path of the refresh token file."""
    return tmp_path / "login.json"


@pytest.fixture
def inside(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Inside:
    """Run commands without settings in the environment, and with an unusable HTTP proxy."""
    for name in set(os.environ) - set(environment()):
        monkeypatch.delenv(name)
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    return Inside(capsys, monkeypatch)
