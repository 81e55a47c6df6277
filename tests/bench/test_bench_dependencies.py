"""What the bench installs is explained, like everything else."""

import re
import tomllib

from bench.machine import ROOT


def test_every_package_has_its_reason() -> None:
    """The group and the table hold the same names, in order."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    wanted = [re.split(r"[^\w.-]", entry)[0] for entry in project["dependency-groups"]["bench"]]
    page = (ROOT / "docs/dependencies.md").read_text(encoding="utf-8")
    section = page.partition("## To measure\n")[2].partition("\n## ")[0]
    assert re.findall(r"^\| `([^`]+)` \| \S.* \|$", section, re.MULTILINE) == sorted(wanted)
