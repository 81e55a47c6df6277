"""PURE: what happened between a proxy and the fleet's store, as plain values."""

from dataclasses import dataclass
from enum import StrEnum

from proxy.tokens.token import TokenKey


class StoreFailure(StrEnum):
    """Why a step on the store was not done; also the ``reason`` label of its metric."""

    NONE = ""
    UNREACHABLE = "unreachable"
    TIMEOUT = "timeout"
    TLS = "tls"
    LOGIN = "login"
    STARTING = "starting"
    FORBIDDEN = "forbidden"
    READ_ONLY = "read_only"
    FULL = "full"
    CIRCUIT_OPEN = "circuit_open"
    OTHER = "other"

    @property
    def is_absence(self) -> bool:
        """Whether the store is not there at all, so that asking again at once is no use."""
        return self in _ABSENCES


_ABSENCES = frozenset(
    {
        StoreFailure.UNREACHABLE,
        StoreFailure.TIMEOUT,
        StoreFailure.TLS,
        StoreFailure.LOGIN,
        StoreFailure.STARTING,
    }
)


class AcquisitionSource(StrEnum):
    """How a proxy came by a token, or that it came by none."""

    FETCHED = "fetched"
    """It asked the bank, under the lease, for all."""
    SHARED = "shared"
    """Another had asked."""
    UNCACHED = "uncached"
    """It asked the bank under the lease, but the token came too late for the store."""
    DIRECT = "direct"
    """It asked the bank for itself, because the store was of no use."""
    REFUSED = "refused"
    """It did not ask, because the bank had refused another, and that binds all."""
    FAILED = "failed"
    """It asked the bank, under the lease, and got none."""


@dataclass(frozen=True, slots=True)
class StoreOperation:
    """A step was done, or not, in so many seconds."""

    operation: str
    seconds: float
    failure: StoreFailure


@dataclass(frozen=True, slots=True)
class StoreStateChanged:
    """The store has become useful again (no ``failure``), or no longer is, or in another way."""

    failure: StoreFailure


@dataclass(frozen=True, slots=True)
class TokenAcquired:
    """A wish for a token has come to its end after ``waited`` seconds, the bank's time included."""

    key: TokenKey
    source: AcquisitionSource
    waited: float


@dataclass(frozen=True, slots=True)
class DecryptFailed:
    """A record holds something for this key that does not open; ``reason`` is key or garbage."""

    key: TokenKey
    reason: str


StoreEvent = StoreOperation | StoreStateChanged | TokenAcquired | DecryptFailed
