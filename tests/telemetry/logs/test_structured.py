"""structlog without rich."""

import importlib
import subprocess
import sys

import pytest

from proxy.telemetry.logs.structured import without


def test_rich_is_not_imported() -> None:
    """It is for terminals and can still be imported later."""
    program = (
        "import sys, proxy.runtime.serve\n"
        "print(sorted(name for name in sys.modules if name.partition('.')[0] == 'rich'))\n"
        "import rich\n"
        "print(rich.__name__)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.split("\n")[:2] == ["[]", "rich"]


def test_module_is_hidden_temporarily() -> None:
    """Its former state is restored."""
    import wave  # noqa: PLC0415 - any module will do that is there already

    with without("wave"), pytest.raises(ImportError):
        importlib.import_module("wave")
    assert importlib.import_module("wave") is wave
    with without("no.such.module"):
        pass
    assert "no.such.module" not in sys.modules
