"""What depends on the date works in a year and in five; `make test-future` runs the rest so."""

import subprocess
import sys
import time

import pytest

from tests.support import needs
from tests.support.program import ROOT, environment

pytestmark = [needs.programs("faketime"), pytest.mark.machine_clock]  # they set the clock

TESTS = (
    "tests/cli/test_local_ca.py",
    "tests/runtime/test_certificate_expiry.py",
    "tests/tokens/test_cache.py",
    "tests/tokens/test_token.py",
    "tests/upstream/test_tls.py",
)
YEARS = pytest.mark.parametrize("years", [1, 5])


def ahead(years: int, *command: str) -> str:
    """Run Python with the clock ahead and return its output; fail if it fails."""
    done = subprocess.run(
        [ROOT / "tools/ahead", f"+{years}y", sys.executable, *command],
        cwd=ROOT,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@YEARS
def test_demo_works(years: int) -> None:
    """Tokens are fetched, used and renewed."""
    assert ahead(years, "-m", "proxy.cli", "demo", "--once")


@YEARS
def test_tokens_and_certificates_work(years: int) -> None:
    """Their tests pass; none has a date in it."""
    few = ("-q", "-p", "no:xdist", "-p", "no:cacheprovider", "--hypothesis-profile=few")
    assert " passed" in ahead(years, "-m", "pytest", *few, "-m", "not machine_clock", *TESTS)


def test_clock_is_ahead() -> None:
    """The tests above can fail: what they start has another date."""
    assert float(ahead(1, "-c", "import time; print(time.time())")) - time.time() > 364 * 86_400
