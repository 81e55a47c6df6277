"""White space before colons in responses; tests/upstream/test_response_parser.py has the rest."""

import pytest

from proxy.upstream.head_whitespace import HeadWhitespace

HEAD = b"HTTP/1.1 200 OK\r\nA : b\r\nC \t: d : e\r\n\r\n"
PLAIN = b"HTTP/1.1 200 OK\r\nA: b\r\nC: d : e\r\n\r\n"
HINTS = b"HTTP/1.1 103 Early Hints\r\nLink : x\r\n\r\n"


@pytest.mark.parametrize("size", [1, 2, 3, 5, 1000])
@pytest.mark.parametrize(
    ("data", "ready"),
    [
        (HEAD + b"\r\nX : y\r\n\r\n", PLAIN + b"\r\nX : y\r\n\r\n"),
        (HINTS + HEAD, HINTS.replace(b" :", b":") + PLAIN),
        (HEAD.replace(b"200", b"101") + HEAD, PLAIN.replace(b"200", b"101") + HEAD),
    ],
    ids=["body", "interim response", "101"],
)
def test_heads_are_changed_and_nothing_else(data: bytes, ready: bytes, size: int) -> None:
    """Up to the end of the final response's head, in blocks of any size."""
    whitespace = HeadWhitespace()
    assert ready == b"".join(
        whitespace.remove(data[at : at + size]) for at in range(0, len(data), size)
    )
