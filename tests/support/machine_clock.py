"""Keeps the clock of ``faketime`` away from a program (``make test-future``)."""

import os


def environment() -> dict[str, str]:
    """Return this process's environment without libfaketime.

    For programs that do not run with it (redis-server: jemalloc reads the clock before libfaketime
    is ready; Chromium: its waits return at once) and for those that compare their clock with
    another machine's, such as a registry's certificate.
    """
    return {name: text for name, text in os.environ.items() if name != "LD_PRELOAD"}
