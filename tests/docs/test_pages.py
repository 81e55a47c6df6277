"""The pages tell the truth about the repository."""

import re
from operator import attrgetter
from pathlib import Path

import pytest

from proxy.config.model import Config
from tests.support.pages import PAGES, ROOT, anchors


def ids(path: Path) -> str:
    """The page's path, for pytest to show."""
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_links_lead_somewhere(page: Path) -> None:
    """Every link to a file of the repository has its file."""
    links = re.findall(r"\]\((?!\w+:|#)([^)#]+)", page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_anchors_lead_somewhere(page: Path) -> None:
    """Every link to a part of a page has its title there."""
    links = re.findall(r"\]\((?!\w+:)([^)#]*\.md)?#([^)]+)\)", page.read_text(encoding="utf-8"))
    lost = [
        (other, anchor)
        for other, anchor in links
        if anchor not in anchors(page.parent / other if other else page)
    ]
    assert lost == []


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_files_to_be_deployed_exist(page: Path) -> None:
    """Whoever copies what a page tells to copy finds it."""
    named = re.findall(r"(?:^|[ `])(deploy/[\w./-]+)", page.read_text(encoding="utf-8"))
    assert [name for name in named if not (ROOT / name.rstrip(".")).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_make_targets_exist(page: Path) -> None:
    """Every `make` command that a page names is one of the Makefile's."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    commands = re.findall(r"(?:`| {4})make ([a-z-]+)", page.read_text(encoding="utf-8"))
    assert set(commands) <= targets


@pytest.mark.parametrize(
    ("flag", "setting"),
    [
        ("--listen HOST:PORT", "listen"),
        ("--admin HOST:PORT", "admin"),
        ("--log-level", "log.level"),
        ("--log-format", "log.format"),
    ],
)
def test_readme_has_the_defaults_of_the_program(flag: str, setting: str) -> None:
    """The default beside a flag is the one that the configuration has."""
    default = attrgetter(setting)(Config.model_construct(institution_id="1"))
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    variable = f"CANDESCENT_{setting.upper().replace('.', '_')}"
    assert f"| `{flag}` | `{variable}` | `{default}` |" in readme
