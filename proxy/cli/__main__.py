"""The entry point of ``candescent-proxy`` and of ``python -m proxy.cli``.

Signals are handled before anything else is imported, which takes half a second.
"""

import _signal  # type: ignore[import-not-found] # signal wraps it, and imports much; typeshed has no more
import os


def main() -> None:
    """Run the command line; Ctrl-C during the imports exits with 130 and prints nothing.

    The first process of a container ignores signals without a handler, so SIGTERM gets one there.
    SIGUSR1, which log rotation sends, would end a program without a handler.
    """
    _signal.signal(_signal.SIGINT, _end)
    if hasattr(_signal, "SIGUSR1"):
        _signal.signal(_signal.SIGUSR1, _signal.SIG_IGN)
    if os.getpid() == 1:
        _signal.signal(_signal.SIGTERM, _end)
    from proxy.cli import main as cli  # noqa: PLC0415 - after the handlers

    arguments = cli.parse()
    _signal.signal(_signal.SIGINT, _signal.default_int_handler)  # commands clean up
    cli.run(arguments)


def _end(number: int, _frame: object) -> None:
    os._exit(128 + number)  # nothing is open yet


if __name__ == "__main__":
    main()
