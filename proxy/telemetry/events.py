"""What happened, as plain values. ``metrics`` counts them, ``logs`` writes them down."""

from collections.abc import Callable
from dataclasses import dataclass

from proxy.tokens.events import TokenFact
from proxy.tokens.fleet.events import StoreFact


@dataclass(frozen=True, slots=True)
class Reloaded:
    """Configuration and secrets were read anew and taken; ``why`` says who asked.

    ``rotated`` when a login to the bank was another than before.
    """

    why: str
    rotated: bool = False


@dataclass(frozen=True, slots=True)
class ReloadFailed:
    """A changed configuration or secret was not taken; the old one stays in force.

    ``error`` is a mistake of our own that was the cause; ``refused`` when the bank gave no token
    with it, ``rotated`` when a login to the bank is another in it.
    """

    why: str
    detail: str
    error: Exception | None = None
    refused: bool = False
    rotated: bool = False


Fact = TokenFact | StoreFact | Reloaded | ReloadFailed
Emit = Callable[[Fact], None]
