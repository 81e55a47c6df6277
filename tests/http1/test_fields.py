"""Header fields of a message."""

from proxy.http1.fields import connection_options, without


def test_connection_options_and_other_fields() -> None:
    """Options are lower-case names; lines are given in four parts."""
    assert connection_options(b"Close, X-A ,, keep-alive") == {b"x-a"}
    lines = [b"A", b": ", b"1", b"\r\n", b"b", b": ", b"2", b"\r\n"]
    assert without(lines, frozenset({b"a"})) == lines[4:]
    assert without(lines, frozenset()) == lines
