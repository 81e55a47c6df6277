"""The table of what ``doctor`` finds, with its cures, in docs/commands.md.

::

    python -m tools.remedies_table            print it
    python -m tools.remedies_table --write    put it into docs/commands.md
"""

import sys
from collections.abc import Sequence

from proxy.cli.doctor.remedies import REMEDIES
from tools.passage import Passage
from tools.repository import ROOT

DOCUMENT = ROOT / "docs" / "commands.md"

PLACE = Passage("remedies", "written by `make manual`")


def table() -> str:
    """Return every cause with its cure, a line each."""
    lines = ["| cause | what is seen | what cures it |", "|---|---|---|"]
    for cause, remedy in REMEDIES.items():
        name = f"`{cause}`" + (" (a warning)" if remedy.is_warning else "")
        lines.append(f"| {name} | {_cell(remedy.text)} | {_cell(remedy.cure)} |")
    return "\n".join(lines)


def _cell(text: str) -> str:
    """Return a sentence with what is filled in as words in italics."""
    return text.replace("{", "*").replace("}", "*").replace("|", "&#124;")


def main(arguments: Sequence[str]) -> int:
    """Do what the command line asks for; return the exit code."""
    if arguments == ["--write"]:
        PLACE.write(DOCUMENT, table())
    else:
        print(table())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
