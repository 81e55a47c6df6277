"""The documentation pages: their prose and their shell commands."""

import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "bench").rglob("*.md")]
)

_FENCED = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
_SHELL = re.compile(r"^```(?:sh|powershell)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_INDENTED = re.compile(r"(?:^\n|\A)((?:^ {4}.*\n)+)", re.MULTILINE)


def prose(page: Path) -> str:
    """Return a page without its fenced blocks."""
    return _FENCED.sub("", page.read_text(encoding="utf-8"))


def shell_lines(page: Path) -> Iterator[str]:
    """Yield the lines of a page's shell blocks and indented blocks, continuations joined."""
    blocks = _SHELL.findall(page.read_text(encoding="utf-8")) + _INDENTED.findall(prose(page))
    for block in blocks:
        yield from (line.strip() for line in block.replace("\\\n", " ").splitlines())


def shell_block(page: Path, beginning: str) -> str:
    """Return the one shell block of a page that has this beginning."""
    blocks = _SHELL.findall(page.read_text(encoding="utf-8"))
    (found,) = [str(block) for block in blocks if block.startswith(beginning)]
    return found


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).strip().replace(" ", "-") for title in titles}
