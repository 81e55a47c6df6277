"""Generates the manual page docs/candescent-proxy.1 from the command-line parser.

::

    python -m tools.manual            print it
    python -m tools.manual --write    write it

Read it with ``man -l docs/candescent-proxy.1``.
"""

import argparse
import re
import sys
from collections.abc import Iterable, Iterator, Sequence

from proxy import __version__
from proxy.cli import main as cli
from proxy.cli.commands.common import FLAGS, add_settings
from tools.repository import ROOT

PAGE = ROOT / "docs" / "candescent-proxy.1"

_DESCRIPTION = """\
candescent-proxy stands in front of the Candescent Digital Banking API. It asks the bank for access
tokens, renews them and adds them to every request, so that applications need no token
handling.

Settings come from a YAML file, the environment and flags; later ones override earlier ones. An
unknown name is an error. Secrets come from files or the environment, never from flags.
"""

_SETTINGS = """\
SETTING is one of these flags. All other settings are in the file or in the environment.
"""

_EXIT = {
    "0": "Success; also a proxy or sandbox that a signal has stopped.",
    "1": "Failure: a probe failed, the bank refused, or a file cannot be written.",
    "2": "Wrong arguments, or an invalid configuration; one line per error.",
    "130": "Ended by Ctrl-C.",
}

_ENVIRONMENT = {
    "CANDESCENT_CONFIG": "The configuration file, unless --config is given.",
    "CANDESCENT_...": "Every setting, in capitals; two underscores separate a section, as in "
    "CANDESCENT_TOKEN__TIMEOUT. They include those of the vendor's SDK: CANDESCENT_CLIENT_ID, "
    "CANDESCENT_CLIENT_SECRET, CANDESCENT_INSTITUTION_ID, CANDESCENT_ENVIRONMENT.",
    "NO_COLOR": "If set, output has no colours.",
}

_EXAMPLES = {
    "Set it up, then run it:": (
        "candescent-proxy init",
        "candescent-proxy run --config candescent-proxy/proxy.yaml",
    ),
    "Find out what is wrong:": ("candescent-proxy doctor --config candescent-proxy/proxy.yaml",),
    "Try it without a bank, each in its own terminal:": (
        "candescent-proxy sandbox",
        "candescent-proxy init --sandbox trial",
        "candescent-proxy run --config trial/proxy.yaml",
        "curl http://127.0.0.1:8080/v1/accounts",
    ),
}


def page() -> str:
    """Return the page."""
    return "\n".join(_page()) + "\n"


def _page() -> Iterator[str]:
    yield '.\\" Written by `make manual`.'
    yield f'.TH CANDESCENT-PROXY 1 "" "candescent-proxy {__version__}" "User Commands"'
    yield from (".SH NAME", roff("candescent-proxy - brings the tokens to a banking API"))
    yield from (".SH SYNOPSIS", "\\fBcandescent\\-proxy\\fR \\fICOMMAND\\fR [\\fIOPTION\\fR ...]")
    yield ".SH DESCRIPTION"
    yield from paragraphs(_DESCRIPTION)
    yield ".SH COMMANDS"
    for name, command in commands(cli.parser()).items():
        yield from _command(name, command)
    yield ".SH SETTINGS"
    yield from paragraphs(_SETTINGS)
    yield from _arguments(_settings())
    yield ".SH EXIT STATUS"
    yield from definitions(_EXIT)
    yield ".SH ENVIRONMENT"
    yield from definitions(_ENVIRONMENT)
    yield ".SH EXAMPLES"
    for about, lines in _EXAMPLES.items():
        yield from (".PP", roff(about), ".PP", ".nf", ".RS 4", *map(roff, lines), ".RE", ".fi")
    yield ".SH SEE ALSO"
    yield roff("candescent-proxy COMMAND --help; docs/ in the source, configuration.md first.")


def commands(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """Return the parser of every command."""
    (found,) = (
        action
        for action in parser._actions  # noqa: SLF001 - argparse has no other way to list them
        if isinstance(action, argparse._SubParsersAction)  # noqa: SLF001 - likewise
    )
    return dict(found.choices)


def _settings() -> list[argparse.Action]:
    """Return the flags of the commands that use every one."""
    parser = argparse.ArgumentParser(add_help=False)
    add_settings(parser, *FLAGS)
    return parser._actions  # noqa: SLF001 - argparse has no other way to list them


def _command(name: str, command: argparse.ArgumentParser) -> Iterator[str]:
    arguments = [action for action in command._actions if action.dest != "help"]  # noqa: SLF001 - likewise
    common = {str(action.option_strings) for action in _settings()}
    takes_settings = common <= {str(action.option_strings) for action in arguments}
    flags = [action for action in arguments if action.option_strings]
    if takes_settings:
        flags = [action for action in flags if str(action.option_strings) not in common]
    places = [action for action in arguments if not action.option_strings]
    line = [f"\\fB{roff(name)}\\fR", *(["[\\fISETTING\\fR ...]"] if takes_settings else [])]
    line += ["[\\fIOPTION\\fR ...]"] if flags else []
    yield ".SS " + " ".join(line + [_place(action) for action in places])
    yield from paragraphs(command.description or "")
    yield from _arguments([*places, *flags])
    if command.epilog:
        yield from (".PP", ".nf", *map(roff, command.epilog.strip().splitlines()), ".fi")


def _arguments(actions: Iterable[argparse.Action]) -> Iterator[str]:
    for action in actions:
        yield from (".TP", _head(action), roff(_help(action)))


def _place(action: argparse.Action) -> str:
    name = f"\\fI{roff(_metavar(action))}\\fR"
    return {"?": f"[{name}]", "*": f"[{name} ...]"}.get(str(action.nargs), name)


def _head(action: argparse.Action) -> str:
    if not action.option_strings:
        return _place(action)
    flags = ", ".join(f"\\fB{roff(flag)}\\fR" for flag in action.option_strings)
    return flags if action.nargs == 0 else f"{flags} \\fI{roff(_metavar(action))}\\fR"


def _metavar(action: argparse.Action) -> str:
    return str(action.metavar) if action.metavar else action.dest.replace("_", "-").upper()


def _help(action: argparse.Action) -> str:
    text = (action.help or "").replace("%%", "%")
    choices = f"one of {', '.join(map(str, action.choices))}" if action.choices else ""
    return "; ".join(filter(None, (text, choices))) or _metavar(action).lower()


def paragraphs(text: str) -> Iterator[str]:
    """Return paragraphs, separated by empty lines."""
    for paragraph in text.strip().split("\n\n"):
        yield from (".PP", roff(" ".join(paragraph.split())))


def definitions(entries: dict[str, str]) -> Iterator[str]:
    """Return a definition list."""
    for word, meaning in entries.items():
        yield from (".TP", f"\\fB{roff(word)}\\fR", roff(meaning))


def roff(text: str) -> str:
    """Return a line of text escaped for troff."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-")
    escaped = re.sub(r"[^\x00-\x7f]", lambda found: f"\\[u{ord(found[0]):04X}]", escaped)
    return re.sub(r"^(?=[.'])", r"\\&", escaped)


def main(arguments: Sequence[str]) -> int:
    """Run the command line; return the exit code."""
    if arguments == ["--write"]:
        PAGE.write_text(page(), encoding="utf-8")
    else:
        print(page(), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
