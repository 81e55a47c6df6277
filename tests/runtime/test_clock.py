"""The machine's clocks, as one moment."""

import time

from proxy.runtime import clock


def test_now_is_both_clocks() -> None:
    """A moment lies between what the clocks said before and after it."""
    before = (time.monotonic(), time.time())
    now = clock.now()
    assert before[0] <= now.monotonic <= time.monotonic()
    assert before[1] <= now.wall <= time.time()


def test_time_passes() -> None:
    """A later moment is not before an earlier one."""
    earlier = clock.now()
    assert clock.now().since(earlier) >= 0
