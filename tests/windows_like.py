"""An event loop that cannot do what those of Windows cannot: signals, readers, Unix sockets.

As far as one platform allows: that Windows itself behaves so is in the documentation of asyncio
("Platform Support").
"""

import asyncio
from typing import Any, NoReturn

MISSING = (
    *("add_signal_handler", "remove_signal_handler", "add_reader", "remove_reader"),
    *("add_writer", "remove_writer", "create_unix_server", "create_unix_connection"),
)


def windows_like_loop() -> asyncio.AbstractEventLoop:
    """Return a loop that raises ``NotImplementedError`` where Windows' does."""
    loop = asyncio.SelectorEventLoop()
    for name in MISSING:
        setattr(loop, name, _missing)
    return loop


def _missing(*_: Any, **__: Any) -> NoReturn:
    raise NotImplementedError
