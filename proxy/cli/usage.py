"""Wrong arguments: an error in one line, with what was probably meant."""

import argparse
from collections.abc import Collection, Sequence
from typing import NoReturn

from proxy.cli.commands import USAGE_ERROR


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line and the command with more help."""

    def error(self, message: str) -> NoReturn:
        """Print and exit with 2."""
        message = message.removeprefix("argument ")
        self.exit(USAGE_ERROR, f"{self.prog}: {message}\nFor help: {self.prog} --help\n")


def first_word_error(given: Sequence[str], commands: Collection[str]) -> str | None:
    """Return the error in the first argument, which is a command, or None."""
    first = given[0]
    if first in commands or first in ("-h", "--help", "--version"):
        return None
    flags = ["--help", "--version"]
    if not first.startswith("-"):
        return f"{first}: no such command{closest(first, [*commands, *flags])}"
    found = closest(first.partition("=")[0], flags)
    if not found and (command := next((word for word in given if word in commands), "")):
        return f"{first}: flags follow the command: candescent-proxy {command} {first} …"
    return f"{first}: no such flag{found or closest(first, commands)}"


def unknown_error(unknown: Sequence[str], parser: argparse.ArgumentParser) -> str:
    """Return the error for the arguments that ``parser`` does not know."""
    first = unknown[0].partition("=")[0]
    if not first.startswith("-"):
        return f"{first}: unexpected argument"
    flags = [flag for action in parser._actions for flag in action.option_strings]  # noqa: SLF001 - argparse has no other way to list them
    return f"{first}: no such flag{closest(first, flags)}"


def closest(word: str, known: Collection[str]) -> str:
    """Return the known word that was probably meant, as the end of a sentence."""
    import difflib  # noqa: PLC0415 - only for an error

    close = difflib.get_close_matches(word.lower(), known, n=1, cutoff=0.6)
    return f"; did you mean {close[0]}?" if close else ""
