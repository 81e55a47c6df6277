"""What happened, as plain values. ``metrics`` counts them, ``logs`` writes them down."""

from collections.abc import Callable
from dataclasses import dataclass

from proxy.tokens.events import TokenEvent
from proxy.tokens.fleet.events import StoreEvent


@dataclass(frozen=True, slots=True)
class Reloaded:
    """Configuration and secrets were read anew and taken; ``why`` says who asked.

    ``has_new_login`` when a login to the bank was another than before.
    """

    why: str
    has_new_login: bool = False


@dataclass(frozen=True, slots=True)
class ReloadFailed:
    """A changed configuration or secret was not taken; the old one stays in force.

    ``error`` is a mistake of our own that was the cause; ``is_refused_by_bank`` when the bank gave
    no token with it, ``has_new_login`` when a login to the bank is another in it.
    """

    why: str
    detail: str
    error: Exception | None = None
    is_refused_by_bank: bool = False
    has_new_login: bool = False


@dataclass(frozen=True, slots=True)
class InternalError:
    """A mistake of our own, which a request or a background task met."""

    error: BaseException


@dataclass(frozen=True, slots=True)
class OperatorWarning:
    """Something that works but that an operator should know, as a sentence."""

    text: str


Event = TokenEvent | StoreEvent | Reloaded | ReloadFailed | InternalError | OperatorWarning
EventSink = Callable[[Event], None]
