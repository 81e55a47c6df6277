"""The clocks of this machine, for those who are given one."""

import time

from proxy.tokens.token import Instant


def now() -> Instant:
    """Return this moment on the monotonic and on the wall clock."""
    return Instant(time.monotonic(), time.time())
