"""Transaction ids: UUIDs (version 4), one for each request that brings none."""

import random
from collections.abc import Iterator

SHARED = 65_536
"""Number of ids that share their random bits: they have to be unique, not secret."""

_random = random.SystemRandom()


def _ids() -> Iterator[str]:
    while True:
        bits = f"{_random.getrandbits(72):018x}"
        variant = _random.choice("89ab")
        head = f"{bits[:8]}-{bits[8:12]}-4{bits[12:15]}-{variant}{bits[15:18]}-"
        first = _random.randrange(2**48 - SHARED)
        for count in range(first, first + SHARED):
            yield f"{head}{count:012x}"


_source = _ids()


def new_transaction_id() -> str:
    """Return a UUID in its canonical form; ``uuid.uuid4`` takes several times as long."""
    return next(_source)
