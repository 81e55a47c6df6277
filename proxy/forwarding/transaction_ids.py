"""Transaction ids: UUIDs (version 4), one for each request that brings none, and whose is known."""

import random
from collections import OrderedDict, deque
from collections.abc import Iterator

SHARED = 65_536
"""Number of ids that share their random bits: they have to be unique, not secret."""

REMEMBERED = 4096
"""Number of callers' ids that are remembered, each of 36 bytes."""

_random = random.SystemRandom()
# The first 24 bytes of the ids made here, of the latest million.
_heads: deque[bytes] = deque(maxlen=16)
_of_callers: OrderedDict[bytes, None] = OrderedDict()


def _ids(heads: deque[bytes]) -> Iterator[str]:
    while True:
        bits = f"{_random.getrandbits(72):018x}"
        variant = _random.choice("89ab")
        head = f"{bits[:8]}-{bits[8:12]}-4{bits[12:15]}-{variant}{bits[15:18]}-"
        heads.append(head.encode("ascii"))
        first = _random.randrange(2**48 - SHARED)
        for count in range(first, first + SHARED):
            yield f"{head}{count:012x}"


_source = _ids(_heads)


def new_transaction_id() -> str:
    """Return a UUID in its canonical form; ``uuid.uuid4`` takes several times as long."""
    return next(_source)


def remember(transaction_id: bytes) -> None:
    """Remember an id that a caller has sent."""
    key = transaction_id.lower()
    _of_callers[key] = None
    _of_callers.move_to_end(key)
    if len(_of_callers) > REMEMBERED:
        _of_callers.popitem(last=False)


def is_of_another(transaction_id: bytes, own: bytes) -> bool:
    """Whether a response's ``transactionId`` or ``di_tid`` is that of another request from here.

    An unknown id does not count: gateways in between set ids of their own, also by adding to ours.
    Two header lines may have been joined with a comma (RFC 9110 section 5.3).
    """
    keys = {one.strip() for one in transaction_id.lower().split(b",")} - {own.lower()}
    return any(key in _of_callers or (len(key) == 36 and key[:24] in _heads) for key in keys)
