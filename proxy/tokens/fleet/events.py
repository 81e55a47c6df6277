"""Events of the token store, as plain values."""

from dataclasses import dataclass
from enum import StrEnum

from proxy.tokens.token import TokenKey


class StoreFailure(StrEnum):
    """Why an operation on the store failed; also the ``reason`` label of its metric."""

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
        """Whether the store is unavailable, so that an immediate retry would fail too."""
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
    """How a proxy obtained a token, or why it obtained none."""

    FETCHED = "fetched"
    """From the bank, with the lease, and written to the store."""
    SHARED = "shared"
    """From the store, fetched by another proxy."""
    UNCACHED = "uncached"
    """From the bank, with the lease, but not written to the store."""
    DIRECT = "direct"
    """From the bank, without the lease, because the store did not help."""
    REFUSED = "refused"
    """No token: another proxy's call failed, which applies to the fleet, or took too long."""
    FAILED = "failed"
    """No token: the bank gave none to this proxy, which held the lease."""


@dataclass(frozen=True, slots=True)
class StoreOperation:
    """An operation took ``seconds``; ``failure`` is ``NONE`` if it succeeded."""

    operation: str
    seconds: float
    failure: StoreFailure


@dataclass(frozen=True, slots=True)
class StoreStateChanged:
    """The store works again (``NONE``), has failed, or fails for another reason than before."""

    failure: StoreFailure


@dataclass(frozen=True, slots=True)
class TokenAcquired:
    """A call for a token ended after ``waited`` seconds, the bank's time included."""

    key: TokenKey
    source: AcquisitionSource
    waited: float


@dataclass(frozen=True, slots=True)
class DecryptFailed:
    """An entry for this key cannot be decrypted; ``reason`` is ``key`` or ``garbage``."""

    key: TokenKey
    reason: str


StoreEvent = StoreOperation | StoreStateChanged | TokenAcquired | DecryptFailed
