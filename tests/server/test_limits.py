"""Limits on callers, and the errors beyond them."""

import pytest

from proxy.errors import CallerError
from proxy.server.limits import CallerLimits

LIMITS = CallerLimits(max_line=20, max_headers=3, max_head=60, max_body=100)


@pytest.mark.parametrize(
    ("target", "headers"),
    [
        (b"/", []),
        (b"/" * 20, []),
        (b"/", [(b"name", b"x" * 12)]),
        (b"/", [(b"a", b"b")] * 3),
        (b"/" * 6, [(b"name", b"x" * 10)] * 3),
    ],
    ids=["small", "long line", "long header", "many", "all of it"],
)
def test_head_within_the_limits_is_accepted(
    target: bytes, headers: list[tuple[bytes, bytes]]
) -> None:
    """The limit itself is included."""
    LIMITS.check_head(target, headers)


@pytest.mark.parametrize(
    ("target", "headers", "status"),
    [
        (b"/" * 21, [], 414),
        (b"/", [(b"name", b"x" * 13)], 431),
        (b"/", [(b"n" * 17, b"")], 431),
        (b"/", [(b"a", b"b")] * 4, 431),
        (b"/" * 7, [(b"name", b"x" * 10)] * 3, 431),
    ],
    ids=["long line", "long value", "long name", "many", "all of it"],
)
def test_head_over_a_limit_is_refused(
    target: bytes, headers: list[tuple[bytes, bytes]], status: int
) -> None:
    """One byte or one header more is too much."""
    with pytest.raises(CallerError) as caught:
        LIMITS.check_head(target, headers)
    assert caught.value.kind.status == status


def test_body_limit() -> None:
    """The limit itself is included; without one any size is accepted."""
    LIMITS.check_body(100)
    CallerLimits().check_body(10**12)
    with pytest.raises(CallerError) as caught:
        LIMITS.check_body(101)
    assert caught.value.kind.status == 413
