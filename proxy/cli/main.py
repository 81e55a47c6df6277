"""The command line: argv → a command's exit code. The only place that exits."""

import argparse
import gc
import importlib
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from proxy.cli.commands import FAILED, INTERRUPTED, USAGE_ERROR
from proxy.cli.version import VersionAction
from proxy.errors import ConfigError

COMMANDS = {
    "init": "write a configuration: a few questions, tried at the bank",
    "run": "forward requests until SIGTERM or SIGINT",
    "doctor": "say what is wrong with a set-up, why, and what cures it",
    "certificate": "make a local authority and a certificate, for HTTPS on the desk",
    "check-config": "print every mistake in the configuration",
    "healthcheck": "exit 0 if a running proxy is ready",
    "wait": "wait until a running proxy is ready",
    "top": "watch a running proxy: tokens, rates, last requests",
    "token": "get a token, and with --reveal print it, for curl",
    "login": "exchange an authorization code, read from standard input",
    "revoke": "revoke a token, read from standard input",
    "sandbox": "run the embedded bank to try things on",
    "demo": "show the proxy at work in front of the sandbox",
    "completion": "print what lets a shell complete these commands",
}
"""What each command does; the module of its name in ``proxy.cli.commands`` does it."""

EPILOG = """\
Every flag has a variable (--base-url: CANDESCENT_BASE_URL), and every setting of the file too.
Least of all that works:

  CANDESCENT_CLIENT_ID=… CANDESCENT_CLIENT_SECRET=… CANDESCENT_INSTITUTION_ID=00016 \\
    CANDESCENT_ENVIRONMENT=stage candescent-proxy run

To try it without a bank: candescent-proxy demo
"""


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Run the command and exit: 0 well, 1 failed, 2 wrong arguments or configuration, 130 Ctrl-C.

    What a signal ends in good order (``run``, ``sandbox``) exits 0.
    """
    given = sys.argv[1:] if argv is None else argv
    wanted = next((word for word in given if not word.startswith("-")), "")
    # What is loaded stays; to look through it for garbage all the time makes the start longer.
    usual = gc.get_threshold()
    gc.set_threshold(10_000)
    arguments = parser(wanted).parse_args(given)
    gc.freeze()
    gc.set_threshold(*usual)
    try:
        code = arguments.command(arguments)
        sys.stdout.flush()
    except ConfigError as error:
        for message in error.errors:
            print(f"candescent-proxy: {message}", file=sys.stderr)
        code = USAGE_ERROR
    except EOFError:
        print("\ncandescent-proxy: a question was left without an answer", file=sys.stderr)
        code = FAILED
    except KeyboardInterrupt:
        print(file=sys.stderr)  # behind the ^C that the terminal shows
        code = INTERRUPTED
    except BrokenPipeError:
        # Who reads has had enough, as ``head`` has. Python would complain of it at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = FAILED
    sys.exit(code)


def parser(wanted: str | None = None) -> argparse.ArgumentParser:
    """Return the parser, with the arguments of the command that is wanted; of all, if None.

    A probe must not wait for what only ``run`` needs, so only that command is loaded.
    """
    root = argparse.ArgumentParser(
        prog="candescent-proxy",
        description="A reverse proxy for the Candescent API that brings the tokens itself.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    root.add_argument("--version", action=VersionAction)
    root.set_defaults(whole=parser)  # for completion, which is about all of them
    commands = root.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, about in COMMANDS.items():
        # Without short forms, of which --client-secret would be one of --client-secret-file.
        command = commands.add_parser(name, help=about, allow_abbrev=False)
        if wanted in (None, name):
            module = importlib.import_module(f"proxy.cli.commands.{name.replace('-', '_')}")
            module.add_arguments(command)
            command.set_defaults(command=module.run)
    return root
