"""The clocks of this machine, for those who are given one."""

import time

from proxy.tokens.token import Moment


def now() -> Moment:
    """Return this moment on the monotonic and on the wall clock."""
    return Moment(time.monotonic(), time.time())
