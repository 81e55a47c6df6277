"""What happened while connections to the bank were opened, as plain values."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum


class LookupResult(StrEnum):
    """What came of a DNS look-up; also the ``result`` label of its metric."""

    SUCCESS = "success"
    STALE = "stale"
    """It failed, and the addresses of the last good one are used."""
    FAILURE = "failure"


class AddressFailure(StrEnum):
    """Why an address gave no connection; also the ``reason`` label of its metric."""

    REFUSED = "refused"
    UNREACHABLE = "unreachable"
    NO_ANSWER = "no_answer"
    """None before another address connected, or before the deadline."""
    TLS = "tls"
    """It accepted the connection, and the TLS handshake failed."""
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class LookedUp:
    """A DNS look-up has ended after ``seconds``; ``why`` is the resolver's error."""

    host: str
    result: LookupResult
    seconds: float
    why: str = ""


@dataclass(frozen=True, slots=True)
class AddressFailed:
    """An address (``192.0.2.1:443``) gave no connection; ``used`` is the one that did, if any."""

    host: str
    address: str
    reason: AddressFailure
    used: str = ""


@dataclass(frozen=True, slots=True)
class ConnectionOpened:
    """A connection is ready for requests, ``seconds`` after it was asked for."""

    seconds: float


UpstreamEvent = LookedUp | AddressFailed | ConnectionOpened
UpstreamEventSink = Callable[[UpstreamEvent], None]


def ignore(event: UpstreamEvent) -> None:
    """Do nothing."""
