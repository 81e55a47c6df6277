"""The memory budget: when it counts, and who gives up its input."""

from proxy.server.memory import HoldsInput, MemoryBudget


class Holder:
    """A connection that holds what a test says."""

    def __init__(self, unserved: int, served: int = 0, *, is_waiting: bool = False) -> None:
        self.unserved_bytes = unserved
        self.served_bytes = served
        self.is_waiting = is_waiting

    def shed(self) -> None:
        """Give up the input."""
        self.unserved_bytes = 0


class Holders:
    """A server of these connections."""

    def __init__(self, *holders: Holder) -> None:
        self._holders = holders

    def holders(self) -> list[HoldsInput]:
        """Return them."""
        return list(self._holders)


def test_unfinished_heads_go_first_then_the_largest() -> None:
    """Until three quarters of the limit are held; requests in service stay."""
    small, large = Holder(10, is_waiting=True), Holder(100, is_waiting=True)
    body, larger_body, served = Holder(300), Holder(700), Holder(0, 100)
    budget = MemoryBudget(1000)
    budget.add(Holders(small, body, served))
    budget.add(Holders(large, larger_body))
    assert budget.held() == 1210
    budget.count()
    assert [large.unserved_bytes, small.unserved_bytes, larger_body.unserved_bytes] == [0, 0, 0]
    assert (body.unserved_bytes, served.served_bytes) == (300, 100)
    assert budget.uncounted == 600


def test_count_within_the_budget_sheds_nothing() -> None:
    """What may arrive until the next count is what is left, or a sixteenth."""
    holder = Holder(990)
    budget = MemoryBudget(1000)
    budget.add(Holders(holder))
    budget.count()
    assert (holder.unserved_bytes, budget.uncounted) == (990, 62)


def test_idle_connections_do_not_protect_others() -> None:
    """A waiting connection without input is passed over."""
    body = Holder(2000)
    budget = MemoryBudget(1000)
    budget.add(Holders(Holder(0, is_waiting=True), body))
    budget.count()
    assert body.unserved_bytes == 0
