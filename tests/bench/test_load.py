"""wrk: its script and its report."""

import pytest

from bench.load import LoadPlan, Outcome, lua, read
from bench.machine import BenchError

REPORT = """\
Running 3s test @ http://127.0.0.1:9801/v1/accounts
  1 threads and 32 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     1.57ms  236.41us   4.68ms   92.28%
    Req/Sec    20.42k     1.22k   21.62k    90.00%
  60932 requests in 3.00s, 52.36MB read
"""


@pytest.mark.parametrize(
    ("more", "failed"),
    [
        ("", 0),
        ("  Non-2xx or 3xx responses: 7\n", 7),
        ("  Socket errors: connect 0, read 2, write 0, timeout 3\n", 5),
        (
            "  Socket errors: connect 1, read 0, write 0, timeout 0\n  Non-2xx or 3xx responses: 4",
            5,
        ),
    ],
)
def test_report_is_parsed(more: str, failed: int) -> None:
    """Requests, time, and every kind of failure."""
    assert read(REPORT + more) == Outcome(60_932, failed, 3.0)


def test_invalid_report_is_an_error() -> None:
    """With wrk's output."""
    with pytest.raises(BenchError, match="unable to connect"):
        read("unable to connect to 127.0.0.1:1 Connection refused\n")


def test_script_has_differences_from_a_plain_get() -> None:
    """None for a GET; a body; institutions in turn."""
    assert lua(LoadPlan()) == ""
    assert 'wrk.body = string.rep("x", 5)' in lua(LoadPlan(upload=5))
    assert "for n = 1, 100 do" in lua(LoadPlan(institutions=100))
