"""Lets Python sleep under Debian's libfaketime 0.9.10 (``make test-future`` puts it on the path).

With FAKETIME_DONT_FAKE_MONOTONIC the library takes an absolute time of the monotonic clock for one
of the faked clock, and clock_nanosleep, behind ``time.sleep``, returns EINVAL. Without it,
sem_clockwait, behind every timeout of a lock, waits for years.
"""

import select
import time
from typing import SupportsIndex


def sleep(seconds: float | SupportsIndex) -> None:
    """Wait as ``time.sleep`` does."""
    select.select([], [], [], float(seconds))


time.sleep = sleep
