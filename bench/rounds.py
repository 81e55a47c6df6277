"""Runs a case: its peers in turn, round by round, each on the proxies' core."""

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
"""Seconds of warm-up."""

OnSample = Callable[[int, str, Sample], None]
"""Called with round, peer name and sample."""


def play(case: Case, peers: Sequence[str], cores: Cores, on_sample: OnSample) -> list[Round]:
    """Run a case; return its rounds. Raises ``BenchError``."""
    with running_upstream(cores.load, case.tokens) as upstream, ExitStack() as stack:

        def start(name: str) -> AbstractContextManager[Running]:
            return running(PEERS[name], case.setup, upstream, cores)

        # If the case allows it, all peers run from the start, and one at a time gets load.
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
                except BenchError as error:  # a failed sample does not discard the others
                    print(f"  {number + 1}/{case.rounds} {name}: {error}", file=sys.stderr)
                else:
                    on_sample(number, name, samples[name])
            rounds.append(samples)
        return rounds
