"""Signals in children of a test run."""

import subprocess
import sys

from tests.support.pages import ROOT

PROGRAM = """
import signal
signal.signal(signal.SIGINT, signal.SIG_IGN)
signal.signal(signal.SIGHUP, signal.SIG_IGN)
import tests.conftest
assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
assert signal.getsignal(signal.SIGHUP) is signal.SIG_DFL
"""


def test_ignored_signals_are_restored() -> None:
    """``nohup`` and background jobs of scripts ignore them."""
    subprocess.run([sys.executable, "-c", PROGRAM], cwd=ROOT, check=True)
