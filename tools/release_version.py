"""Check that a release has one version: ``python3 -m tools.release_version [--tag TAG] [--notes]``.

The program, both charts and the generated pages must agree. With ``--tag``, the tag must be that
version, and CHANGELOG.md must have a dated section for it. ``--notes`` prints that section, without
its heading. Every mistake is printed, and the exit code is then 1. Any Python 3 runs this.
"""

import argparse
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from tools.repository import ROOT

PLACES = (
    ("proxy/__init__.py", r'^__version__ = "(.+)"$'),
    ("helm/candescent-proxy/Chart.yaml", r"^version: (.+)$"),
    ("helm/candescent-proxy/Chart.yaml", r"^appVersion: (.+)$"),
    ("helm/candescent-proxy-sidecar/Chart.yaml", r"^version: (.+)$"),
    ("helm/candescent-proxy-sidecar/Chart.yaml", r"^appVersion: (.+)$"),
    ("docs/candescent-proxy.1", r'^\.TH .*"candescent-proxy (.+?)"'),
)
"""Files and patterns; the first is what the others must equal."""


def main(argv: Sequence[str] | None = None) -> int:
    """Print the version or what is wrong; return the exit code."""
    parser = argparse.ArgumentParser(description="check that a release has one version")
    parser.add_argument("--tag", help="the tag of the release, such as v0.1.0")
    parser.add_argument("--notes", action="store_true", help="print the section of the changelog")
    arguments = parser.parse_args(argv)
    version = find(ROOT, *PLACES[0])
    errors = [*check(ROOT), *(check_tag(ROOT, arguments.tag) if arguments.tag else ())]
    if errors:
        print("\n".join(errors), file=sys.stderr)
        return 1
    print(section(ROOT, version)[1] if arguments.notes else version)
    return 0


def check(root: Path) -> Iterator[str]:
    """Yield a sentence for each place with another version than the program's."""
    version = find(root, *PLACES[0])
    for file, pattern in PLACES[1:]:
        if (other := find(root, file, pattern)) != version:
            yield f"{file} has version {other or 'none'}, proxy/__init__.py has {version}"


def check_tag(root: Path, tag: str) -> Iterator[str]:
    """Yield a sentence for what keeps a tag from being this version's release."""
    version = find(root, *PLACES[0])
    if tag != f"v{version}":
        yield f"the tag is {tag}, but proxy/__init__.py has version {version}"
    date, notes = section(root, version)
    if not date or not notes:
        yield f"CHANGELOG.md has no section '## [{version}] - YYYY-MM-DD' with a text"


def find(root: Path, file: str, pattern: str) -> str:
    """Return what a pattern's group matches in a file; "" where it matches nothing."""
    found = re.search(pattern, (root / file).read_text(encoding="utf-8"), re.MULTILINE)
    return found[1] if found else ""


def section(root: Path, version: str) -> tuple[str, str]:
    """Return date and text of a version's section of the changelog; "" for what is missing."""
    text = (root / "CHANGELOG.md").read_text(encoding="utf-8")
    heading = rf"^## \[{re.escape(version)}\](?: - (\d{{4}}-\d\d-\d\d))?$\n"
    found = re.search(rf"{heading}(.*?)(?=^## |^\[|\Z)", text, re.MULTILINE | re.DOTALL)
    return (found[1] or "", found[2].strip()) if found else ("", "")


if __name__ == "__main__":
    sys.exit(main())
