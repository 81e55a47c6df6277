"""Configuration of all tests: event loops, hypothesis profiles, signals and scheduling."""

import asyncio
import importlib
import importlib.util
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import settings
from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]  # has no types

pytest_plugins = ["tests.support.skips"]

LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {"asyncio": asyncio.new_event_loop}
if importlib.util.find_spec("uvloop"):  # not available for Windows and PyPy
    LOOPS["uvloop"] = importlib.import_module("uvloop").new_event_loop

# No deadline, because machines differ in speed. CI is reproducible.
settings.register_profile("project", deadline=None, derandomize="CI" in os.environ)
settings.register_profile("few", settings.get_profile("project"), max_examples=10)  # make pure
settings.load_profile("project")

# Without bytecode, each worker rewrites the assertions of all tests, and each of the hundreds of
# processes that tests start compiles the program anew: a minute of processor time per run.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# A shell without job control starts background jobs with SIGINT ignored (POSIX, Shell Command
# Language, 2.11), nohup ignores SIGHUP, and children inherit both. Tests send these signals.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


TOGETHER = {
    "tests/kubernetes/test_image.py": "image",
    "tests/kubernetes/test_pods.py": "image",
    "tests/kubernetes/test_containers.py": "image",
    "tests/admin/test_page.py": "browser",
    "tests/docs/test_locks.py": "wheels",
}
"""Modules whose tests run in one worker, for what they share is dear to make."""

LONGEST = (
    *TOGETHER,
    "tests/observability/test_live.py",
    "tests/tokens/fleet/test_thirty.py",
    "tests/tools/test_build_hook.py",
    "tests/docs/test_install.py",
    "tests/observability/test_observe.py",
    "tests/soak/test_soak.py",
    "tests/cli/commands/test_demo.py",
    "tests/runtime/test_lifecycle.py",
)
"""Modules whose tests take or wait the longest. They start first: no core idles at the end."""


class Scheduling(LoadScopeScheduling):  # type: ignore[misc]  # as above
    """Gives each worker one test at a time, or one group of tests."""

    def _split_scope(self, nodeid: str) -> str:
        return TOGETHER.get(nodeid.partition("::")[0], nodeid)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Scheduling:
    """Distribute the tests over the workers."""
    return Scheduling(config, log)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Run a worker more than there are cores: many tests wait most of the time."""
    return (os.cpu_count() or 1) + 1


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the longest modules first."""
    order = {module: at for at, module in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(item.nodeid.partition("::")[0], len(order)))


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Run the tests of modules with ``EVERY_LOOP = True`` on uvloop too.

    The loops differ in how they close connections, and the proxy runs on uvloop where it exists.
    """
    every = getattr(getattr(item, "module", None), "EVERY_LOOP", False)
    return LOOPS if every else {"asyncio": asyncio.new_event_loop}
