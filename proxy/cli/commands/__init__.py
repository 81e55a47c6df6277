"""What the command line can do: a module a command, and what they share.

Each module has ``add_arguments(parser)`` and ``run(arguments)``, which returns the exit code.
``proxy.cli.main`` lists them, and loads only the one that is asked for.
"""

OK, FAILED, USAGE_ERROR, INTERRUPTED = 0, 1, 2, 130
"""Exit codes: well, failed, wrong arguments or configuration, ended by Ctrl-C."""
