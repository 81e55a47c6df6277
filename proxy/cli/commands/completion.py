"""``completion``: scripts with which a shell completes commands, flags and file names."""

import argparse
from collections.abc import Iterator

import shtab

from proxy.cli.commands import OK

_PATHS = {"FILE": shtab.FILE, "FOLDER": shtab.DIRECTORY}

ABOUT = """\
Prints a script with which a shell completes commands, flags and file names.
"""
EXAMPLE = """\
  For bash, once:
    candescent-proxy completion bash > ~/.local/share/bash-completion/completions/candescent-proxy
  For zsh, with a folder of $fpath:
    candescent-proxy completion zsh > ~/.zfunc/_candescent-proxy
  For fish:
    candescent-proxy completion fish > ~/.config/fish/completions/candescent-proxy.fish
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the argument for the shell."""
    parser.add_argument("shell", choices=shtab.SUPPORTED_SHELLS)


def run(arguments: argparse.Namespace) -> int:
    """Print a script for the shell."""
    parser: argparse.ArgumentParser = arguments.whole()
    for action in arguments_of(parser):
        if action.metavar in _PATHS:
            vars(action)["complete"] = _PATHS[str(action.metavar)]
    print(shtab.complete(parser, arguments.shell))
    return OK


def arguments_of(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """Yield the arguments of a parser and of every command in it."""
    for action in parser._actions:  # noqa: SLF001 - argparse has no other way to list them
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001 - likewise
            for command in action.choices.values():
                yield from arguments_of(command)
        else:
            yield action
