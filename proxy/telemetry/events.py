"""Events, as plain values. ``metrics`` counts them, ``logs`` writes them."""

from collections.abc import Callable
from dataclasses import dataclass

from proxy.tokens.events import TokenEvent
from proxy.tokens.fleet.events import StoreEvent
from proxy.upstream.events import UpstreamEvent


@dataclass(frozen=True, slots=True)
class Reloaded:
    """Configuration and secrets were reloaded; ``why`` is ``file``, ``signal`` or ``admin``.

    ``has_new_login``: a login to the bank has changed.
    """

    why: str
    has_new_login: bool = False


@dataclass(frozen=True, slots=True)
class ReloadFailed:
    """A reload failed; the old configuration stays in use.

    ``error`` is an unexpected exception that was the cause; ``is_refused_by_bank``: the bank issued
    no token with it; ``has_new_login``: a login to the bank differs in it.
    """

    why: str
    detail: str
    error: Exception | None = None
    is_refused_by_bank: bool = False
    has_new_login: bool = False


@dataclass(frozen=True, slots=True)
class InternalError:
    """An unexpected exception in a request or a background task."""

    error: BaseException


@dataclass(frozen=True, slots=True)
class OperatorWarning:
    """A warning for the operator, as a sentence."""

    text: str


Event = (
    TokenEvent
    | StoreEvent
    | UpstreamEvent
    | Reloaded
    | ReloadFailed
    | InternalError
    | OperatorWarning
)
EventSink = Callable[[Event], None]
