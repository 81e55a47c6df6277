"""Measurements of this process from /proc."""

import os
import sys
import threading
import time

import pytest

from bench.measure import Usage, peak, resident, running_time, wake_ups
from tests.support import needs

pytestmark = needs.skip_if(sys.platform != "linux", "reads /proc", "make test on Linux")


def test_cpu_time_agrees_with_the_system() -> None:
    """To hundredths of a second."""
    found, times = Usage.of(os.getpid()), os.times()
    assert found.user == pytest.approx(times.user, abs=0.1)
    assert found.system == pytest.approx(times.system, abs=0.1)
    assert (found - found).total == 0


def test_running_time_is_finer() -> None:
    """Milliseconds are visible."""
    before = running_time(os.getpid())
    until = time.thread_time() + 0.005
    while time.thread_time() < until:
        pass
    assert running_time(os.getpid()) - before > 0.003


def test_wake_ups_are_those_of_all_threads() -> None:
    """Every sleep is one."""
    before = wake_ups(os.getpid())
    slept, ended = threading.Event(), threading.Event()

    def sleep() -> None:
        for _ in range(20):
            time.sleep(0.001)
        slept.set()
        ended.wait()

    thread = threading.Thread(target=sleep)
    thread.start()
    slept.wait()
    after = wake_ups(os.getpid())
    ended.set()
    thread.join()
    assert after - before >= 20


def test_memory_grows_with_allocations() -> None:
    """The peak is at least the resident size."""
    before = resident(os.getpid())
    held = bytearray(os.urandom(10_000_000))
    assert resident(os.getpid()) - before > 9_000_000
    assert peak(os.getpid()) >= resident(os.getpid()) - len(held)
