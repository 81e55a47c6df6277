"""The log of a plan's token calls and of times without a token, real or simulated."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import accumulate
from math import floor

from bench.fleet.plan import Plan, Window, within


@dataclass(slots=True)
class CallLog:
    """``calls`` are (time, success); ``started`` and ``ready`` are times by pod.

    ``gaps`` are the periods in which a pod had an expired token for an institution.
    """

    calls: list[tuple[float, bool]] = field(default_factory=list)
    started: list[float] = field(default_factory=list)
    ready: list[float] = field(default_factory=list)
    gaps: list[Window] = field(default_factory=list)

    def calls_per_second(self, plan: Plan) -> Counter[int]:
        """Return the number of calls in each second of the watched period."""
        return Counter(floor(when) for when, _ in self.calls if within(plan.watched, when))


@dataclass(frozen=True, slots=True)
class Figures:
    """The results of a plan. Times in seconds; None if not applicable.

    ``ready_half`` and ``ready_all`` count from the first start; ``recovered`` is the time from the
    end of a fault to the last replaced token; ``without`` is the maximum of expired tokens at
    once.
    """

    calls: int
    per_hour: float
    worst_second: int
    refused: int
    ready_half: float | None
    ready_all: float | None
    recovered: float | None
    without: int


def figures(plan: Plan, log: CallLog) -> Figures:
    """Return the figures of the watched period."""
    watched = [served for when, served in log.calls if within(plan.watched, when)]
    hours = (plan.watched[1] - plan.watched[0]) / 3600
    ready = sorted(log.ready)
    everybody = len(ready) == plan.pods
    return Figures(
        calls=len(watched),
        per_hour=len(watched) / hours,
        worst_second=max(log.calls_per_second(plan).values(), default=0),
        refused=watched.count(False),
        ready_half=ready[plan.pods // 2] if len(ready) > plan.pods // 2 else None,
        ready_all=ready[-1] if everybody else None,
        recovered=_recovered(plan, log.gaps),
        without=most_at_once(_watched_gaps(plan, log.gaps)),
    )


def _watched_gaps(plan: Plan, gaps: Iterable[Window]) -> Iterator[Window]:
    """Restrict gaps to the watched period."""
    begin, end = plan.watched
    return ((max(since, begin), to) for since, to in gaps if to > begin and since < end)


def most_at_once(windows: Iterable[Window]) -> int:
    """Return the maximal number of overlapping windows."""
    steps = sorted(step for window in windows for step in _steps(window))
    return max(accumulate(step for _, step in steps), default=0)


def _steps(window: Window) -> Iterator[tuple[float, int]]:
    yield window[0], 1
    yield window[1], -1


def _recovered(plan: Plan, gaps: list[Window]) -> float | None:
    """Return the seconds from the end of the fault to the last token.

    None without a fault, and if a token stays expired to the end of the watched period.
    """
    end = plan.fault_end
    if end == float("inf") or any(to >= plan.end for _, to in gaps):
        return None
    later = [to - end for since, to in gaps if to > end]
    return max(later, default=0.0)
