"""The commands, one module each, and what they share.

Each module has ``add_arguments(parser)`` and ``run(arguments)``, which returns the exit code.
``proxy.cli.main`` lists them and imports only the requested one.
"""

OK, FAILED, USAGE_ERROR, INTERRUPTED = 0, 1, 2, 130
"""Exit codes: success, failure, wrong usage or configuration, Ctrl-C."""
