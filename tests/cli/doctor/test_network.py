"""Checks of environment and clock; test_checks has whole set-ups."""

import pytest

from proxy.cli.doctor.network import clock
from proxy.cli.doctor.results import Level


def head(date: str) -> bytes:
    """Return a response head with this date."""
    return f"HTTP/1.1 200 OK\r\nDATE: {date}\r\nContent-Length: 0\r\n\r\n".encode()


@pytest.mark.parametrize(
    ("date", "level"),
    [
        ("Thu, 01 Jan 1970 00:16:40 GMT", Level.OK),
        ("Thu, 01 Jan 1970 00:17:40 GMT", Level.OK),
        ("Thu, 01 Jan 1970 00:17:41 GMT", Level.WARNING),
        ("Thu, 01 Jan 1970 00:15:39 GMT", Level.WARNING),
    ],
)
def test_clock_difference(date: str, level: Level) -> None:
    """A minute either way is accepted."""
    (finding,) = clock(head(date), 1000.0)
    assert finding.level is level


@pytest.mark.parametrize("date", ["", "yesterday", "Thu, 99 Foo 1970 99:99:99 GMT"])
def test_invalid_date_is_ignored(date: str) -> None:
    """The clock is not checked."""
    assert clock(head(date), 1000.0) == []
    assert clock(b"HTTP/1.1 200 OK\r\n\r\n", 1000.0) == []
