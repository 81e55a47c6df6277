"""The two clocks as one instant."""

import time

from proxy.runtime import clock


def test_now_reads_both_clocks() -> None:
    """An instant lies between earlier and later readings."""
    before = (time.monotonic(), time.time())
    now = clock.now()
    assert before[0] <= now.monotonic <= time.monotonic()
    assert before[1] <= now.wall <= time.time()


def test_time_does_not_go_back() -> None:
    """A later instant is not before an earlier one."""
    earlier = clock.now()
    assert clock.now().since(earlier) >= 0
