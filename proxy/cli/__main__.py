"""The entry point of ``candescent-proxy`` and of ``python -m proxy.cli``.

Signals are handled before anything else is imported, which takes half a second.
"""

import os
import signal
from typing import NoReturn


def main() -> NoReturn:
    """Run the command line; Ctrl-C during the imports exits with 130 and prints nothing.

    The first process of a container ignores signals without a handler, so SIGTERM gets one there.
    """
    signal.signal(signal.SIGINT, _end)
    if os.getpid() == 1:
        signal.signal(signal.SIGTERM, _end)
    from proxy.cli import main as cli  # noqa: PLC0415 - after the handlers

    arguments = cli.parse()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # commands clean up
    cli.run(arguments)


def _end(number: int, _frame: object) -> NoReturn:
    os._exit(128 + number)  # nothing is open yet


if __name__ == "__main__":
    main()
