"""Runs a case: its peers in turn, round after round, each on the core of the proxies."""

import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext

from bench.cases import Case
from bench.figures import Round, Sample
from bench.machine import BenchError, Cores
from bench.peers import PEERS
from bench.running import Running, running
from bench.upstream import running_upstream

WARM_UP = 1
"""Seconds of a first sample that does not count."""

OnSample = Callable[[int, str, Sample], None]
"""Is told of each sample: round, name of the peer, what was measured."""


def play(case: Case, peers: Sequence[str], cores: Cores, on_sample: OnSample) -> list[Round]:
    """Return what was measured, a round each. Raises ``BenchError``."""
    with running_upstream(cores.load, case.tokens) as upstream, ExitStack() as stack:

        def start(name: str) -> AbstractContextManager[Running]:
            return running(PEERS[name], case.setup, upstream, cores)

        # Where a case lets them, all of them run from the beginning, and one at a time has work.
        waiting = {name: stack.enter_context(start(name)) for name in peers if not case.fresh}
        for proxy in waiting.values():
            case.sample(proxy, WARM_UP)
        rounds: list[Round] = []
        for number in range(case.rounds):
            samples: dict[str, Sample] = {}
            for name in peers:
                try:
                    with nullcontext(waiting[name]) if name in waiting else start(name) as proxy:
                        samples[name] = case.sample(proxy, case.seconds)
                except BenchError as error:  # one bad sample is no reason to lose the others
                    print(f"  {number + 1}/{case.rounds} {name}: {error}", file=sys.stderr)
                else:
                    on_sample(number, name, samples[name])
            rounds.append(samples)
        return rounds
