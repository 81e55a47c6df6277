"""structlog, loaded by itself: ``from proxy.telemetry.logs.structured import structlog``.

It would take rich where that is installed, as it is for ``top`` and ``doctor``: for tracebacks
that show local variables, in which secrets stand, and which are not written here; and greenlet,
for contexts that nobody has here. Both would cost the proxy memory and a longer start.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["structlog"]


@contextmanager
def without(name: str) -> Iterator[None]:
    """Let an import of ``name`` fail for as long as this lasts."""
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
