"""The command line: parses the arguments, runs one command, and exits with its code."""

import argparse
import gc
import importlib
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from proxy.cli.commands import FAILED, INTERRUPTED, USAGE_ERROR
from proxy.cli.usage import Parser, first_word_error, unknown_error
from proxy.cli.version import VersionAction
from proxy.errors import ConfigError

COMMANDS = {
    "init": "write a configuration from a few questions, verified with the bank",
    "run": "forward requests until SIGTERM or SIGINT",
    "doctor": "find what is wrong with an installation, and how to fix it",
    "certificate": "make a local authority and a certificate, for HTTPS on this machine",
    "check-config": "print every error in the configuration",
    "healthcheck": "exit 0 if a running proxy is ready",
    "wait": "wait until a running proxy is ready",
    "top": "watch a running proxy: tokens, rates, last requests",
    "token": "fetch a token, and with --reveal print it, for curl",
    "login": "exchange an authorization code, read from standard input",
    "revoke": "revoke a token, read from standard input",
    "sandbox": "run the embedded bank for development",
    "demo": "show the proxy at work in front of the sandbox",
    "completion": "print a script for command completion in a shell",
}
"""The commands with their descriptions; each is a module in ``proxy.cli.commands``."""

EPILOG = """\
candescent-proxy COMMAND --help describes a command and shows an example.

Every setting has an environment variable (listen: CANDESCENT_LISTEN). The smallest configuration:

  CANDESCENT_CLIENT_ID=… CANDESCENT_CLIENT_SECRET=… CANDESCENT_INSTITUTION_ID=00016 \\
    CANDESCENT_ENVIRONMENT=stage candescent-proxy run

To try it without a bank: candescent-proxy demo
"""


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Parse arguments and run the command; the process handles signals as it did before."""
    run(parse(argv))


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Return the arguments, by default this process's; exit with 2 if they are wrong."""
    given = [*(sys.argv[1:] if argv is None else argv)]
    if given[:1] == ["help"]:
        given = [*given[1:2], "--help"]
    wanted = next((word for word in given if not word.startswith("-")), "")
    # Imported modules are never garbage; collecting meanwhile makes the start longer.
    usual = gc.get_threshold()
    gc.set_threshold(10_000)
    root = parser(wanted)
    if not given:
        root.exit(USAGE_ERROR, root.format_help())
    if error := first_word_error(given, COMMANDS):
        root.error(error)
    arguments, unknown = root.parse_known_args(given)
    if unknown:
        arguments.parser.error(unknown_error(unknown, arguments.parser))
    gc.freeze()
    gc.set_threshold(*usual)
    return arguments


def run(arguments: argparse.Namespace) -> NoReturn:
    """Run the command and exit: 0 success, 1 failure, 2 wrong configuration, 130 Ctrl-C.

    ``run`` and ``sandbox`` exit 0 after a signal.
    """
    try:
        code = arguments.command(arguments)
        sys.stdout.flush()
    except ConfigError as error:
        for message in error.errors:
            print(f"candescent-proxy: {message}", file=sys.stderr)
        code = USAGE_ERROR
    except EOFError:
        print(
            "\ncandescent-proxy: the input ended before all questions were answered",
            file=sys.stderr,
        )
        code = FAILED
    except KeyboardInterrupt:
        if sys.stderr.isatty():
            print(file=sys.stderr)  # after the ^C that the terminal shows
        code = INTERRUPTED
    except BrokenPipeError:
        # The reader has closed the pipe, like ``head``. Python would report it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = FAILED
    sys.exit(code)


def parser(wanted: str | None = None) -> argparse.ArgumentParser:
    """Return the parser, with the arguments of the ``wanted`` command, or of all if None.

    Only that command's module is imported, so that probes start fast.
    """
    layout = argparse.RawDescriptionHelpFormatter
    root = Parser(
        prog="candescent-proxy",
        description="A reverse proxy for the Candescent API that adds access tokens to requests.",
        epilog=EPILOG,
        formatter_class=layout,
    )
    root.add_argument("--version", action=VersionAction)
    root.set_defaults(whole=parser)  # for completion, which needs all commands
    commands = root.add_subparsers(title="commands", metavar="COMMAND")
    for name, about in COMMANDS.items():
        # No abbreviations: --client-secret would be taken for --client-secret-file.
        command = commands.add_parser(name, help=about, allow_abbrev=False, formatter_class=layout)
        if wanted in (None, name):
            module = importlib.import_module(f"proxy.cli.commands.{name.replace('-', '_')}")
            command.description, command.epilog = module.ABOUT, f"example:\n{module.EXAMPLE}"
            module.add_arguments(command)
            command.set_defaults(command=module.run, parser=command)
    return root
