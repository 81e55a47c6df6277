"""Imports structlog without its optional parts.

Use ``from proxy.telemetry.logs.structured import structlog``. structlog imports rich if it is
installed, for tracebacks with local variables, which may contain secrets; and greenlet. Neither is
used here, and both would cost memory and a longer start.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["structlog"]


@contextmanager
def without(name: str) -> Iterator[None]:
    """Make imports of ``name`` fail within the context."""
    known = sys.modules.get(name)
    sys.modules[name] = None  # type: ignore[assignment]  # what importlib documents for this
    try:
        yield
    finally:
        if known is None:
            del sys.modules[name]
        else:
            sys.modules[name] = known


with without("rich"), without("greenlet"):
    import structlog
