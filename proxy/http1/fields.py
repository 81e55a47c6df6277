"""Header fields of an HTTP/1.1 message, as both sides read them."""

from collections.abc import Sequence

from proxy.http1.bounded_cache import BoundedCache

RawHeaders = Sequence[tuple[bytes, bytes]]


def connection_options(value: bytes) -> frozenset[bytes]:
    """Return the header names that a ``Connection`` header removes, in lower case."""
    options = frozenset(option.strip().lower() for option in value.split(b","))
    return options - {b"", b"close", b"keep-alive"}


CONNECTION_OPTIONS: BoundedCache[bytes, frozenset[bytes]] = BoundedCache(connection_options, len)


def without(lines: list[bytes], names: frozenset[bytes]) -> list[bytes]:
    """Return the flat header list without the headers of these names."""
    result: list[bytes] = []
    for at in range(0, len(lines), 4):
        if lines[at].lower() not in names:
            result += lines[at : at + 4]
    return result
