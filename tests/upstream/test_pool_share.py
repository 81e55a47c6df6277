"""How connections are shared out among listeners."""

from hypothesis import given
from hypothesis import strategies as st

from proxy.upstream.pool_share import PoolShare, share_out


@given(st.integers(1, 10_000), st.integers(1, 32))
def test_shares_never_exceed_the_total(total: int, count: int) -> None:
    """A single listener has all, several have at most half of it among them."""
    each = share_out(total, count)
    assert each * count <= total
    assert count == 1 or each * count <= total / 2
    assert count > 1 or each == total


def test_share_begins_unused() -> None:
    """Nothing is in use, nobody waits."""
    share = PoolShare(4, 8)
    assert (share.in_use, len(share.queue)) == (0, 0)
