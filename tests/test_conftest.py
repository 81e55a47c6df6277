"""Children of a test run receive the signals that tests send them."""

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


def test_signals_that_were_ignored_are_restored() -> None:
    """A run started by ``nohup``, or in the background of a script, ignores them at first."""
    subprocess.run([sys.executable, "-c", PROGRAM], cwd=ROOT, check=True)
