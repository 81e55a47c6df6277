"""Commands, variables and settings in the documentation."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from proxy.cli import main
from proxy.config import loader
from proxy.config.examples import known_paths
from tests.support.pages import PAGES, ROOT, prose, shell_lines

# In a block: behind variables, at the start of a line or behind a pipe.
IN_BLOCK = re.compile(
    r"(?:^|\| |&& |exec |& )(?:[A-Z_]+=\S+ +)*(?:\S*[/\\])?(candescent-proxy(?: .*[^:])?)$"
)
IN_TEXT = re.compile(r"`(candescent-proxy [^`]+)`")
STOPS = {"|", "&", "&&", ";", ">", ">>", "<", "2>", "||"}


def commands(page: Path) -> Iterator[str]:
    """Yield every command of this program on a page, with its arguments."""
    for line in shell_lines(page):
        if found := IN_BLOCK.search(line):
            yield found[1]
    yield from IN_TEXT.findall(prose(page))


def arguments(command: str) -> list[str]:
    """Return the arguments of a command, up to a shell operator."""
    words = shlex.split(command, comments=True)[1:]
    end = next((at for at, word in enumerate(words) if word in STOPS), len(words))
    return words[:end]


FOUND = sorted({(str(page.relative_to(ROOT)), line) for page in PAGES for line in commands(page)})


@pytest.mark.parametrize(("page", "command"), FOUND)
def test_command_is_valid(page: str, command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """It can be parsed."""
    try:
        main.parser(None).parse_args(arguments(command))
        code: object = 0
    except SystemExit as stopped:
        code = stopped.code
    assert code == 0, f"{page}: {command}: {capsys.readouterr().err}"


def test_commands_are_found() -> None:
    """In blocks and in text."""
    pages = {page for page, _ in FOUND}
    assert {"README.md", "docs/troubleshooting.md", "docs/quickstart.md"} <= pages
    assert ["wait"] in [arguments(command)[:1] for _, command in FOUND]


VARIABLES = sorted(
    {
        (str(page.relative_to(ROOT)), name)
        for page in PAGES
        for name in re.findall(r"\bCANDESCENT_[A-Z_]*[A-Z]\b", page.read_text(encoding="utf-8"))
    }
)


@pytest.mark.parametrize(("page", "variable"), VARIABLES)
def test_variable_is_a_setting(page: str, variable: str) -> None:
    """The program reads it."""
    errors: list[str] = []
    loader.read_environment({variable: "1"}, errors)
    assert errors == [], page


SECTIONS = {path[0] for path in known_paths() if len(path) > 1}
SETTINGS = sorted(
    {
        (str(page.relative_to(ROOT)), name)
        for page in PAGES
        for name in re.findall(r"`([a-z0-9]+\.[a-z_]+)`", prose(page))
        if name.partition(".")[0] in SECTIONS
    }
)


CHART_VALUES = {
    (section, name)
    for file in ROOT.glob("helm/*/values.yaml")
    for section, values in yaml.safe_load(file.read_text(encoding="utf-8")).items()
    if isinstance(values, dict)
    for name in values
}


@pytest.mark.parametrize(("page", "setting"), SETTINGS)
def test_setting_exists(page: str, setting: str) -> None:
    """In its section, or among the values of a chart."""
    assert tuple(setting.split(".")) in known_paths() | CHART_VALUES, page
