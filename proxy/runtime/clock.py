"""The clocks of this machine; components get them as arguments."""

import time

from proxy.tokens.token import Instant


def now() -> Instant:
    """Return the present time of the monotonic and of the wall clock."""
    return Instant(time.monotonic(), time.time())
