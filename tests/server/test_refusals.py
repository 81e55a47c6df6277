"""Connections that were ended for a limit: how they are counted and logged."""

from proxy.server.refusals import INTERVAL, TEXTS, Refusals


def test_each_is_counted_and_few_are_logged() -> None:
    """A line for the first of a reason, and the next one a minute later."""
    reported: list[str] = []
    time = [100.0]
    refusals = Refusals(reported.append, " of listener kiosk", lambda: time[0])
    for _ in range(1000):
        refusals.note("connections", "2000")
    refusals.note("handshake", "timeout")
    assert reported == [
        "as many callers of listener kiosk as may be; others are refused (2000)",
        "TLS handshakes of listener kiosk fail or take too long (timeout)",
    ]
    time[0] += INTERVAL
    refusals.note("connections")
    assert reported[2:] == ["as many callers of listener kiosk as may be; others are refused"]
    assert refusals.counts["connections"] == 1001
    assert refusals.counts.keys() == TEXTS.keys()
