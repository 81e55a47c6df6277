"""README's install commands; tests/kubernetes has those of containers."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from proxy import __version__
from tests.support.needs import skip
from tests.support.pages import PAGES, ROOT, shell_block, shell_lines
from tests.support.program import CREDENTIALS, environment
from tests.support.shell import type_lines

pytestmark = pytest.mark.machine_clock  # the registry's certificates are of today

NOT_CLONED = shutil.ignore_patterns(
    *(".git", ".venv*", "build", "dist", ".*_cache", ".hypothesis", "__pycache__")
)


@pytest.fixture(scope="module")
def registry() -> None:
    """Skip where no package registry responds."""
    uv = Path(sys.executable).parent / "uv"
    done = subprocess.run(
        [uv, "pip", "compile", "--no-cache", "--quiet", "-"],
        input="uv",
        text=True,
        capture_output=True,
        check=False,
        env=environment(LD_PRELOAD=""),
    )
    if done.returncode:
        skip("no package registry answers", "connect to one, and make test")


@pytest.mark.usefixtures("registry")
@pytest.mark.parametrize(("tool", "build"), [("pipx", "auto"), ("uv", "pure")])
def test_installs_into_an_empty_environment(tool: str, build: str, tmp_path: Path) -> None:
    """The installed command prints its version and reads settings."""
    clone = shutil.copytree(ROOT, tmp_path / "clone", ignore=NOT_CLONED)
    variables = {
        **dict.fromkeys(("PIPX_HOME", "UV_TOOL_DIR"), str(tmp_path / tool)),
        **dict.fromkeys(("PIPX_BIN_DIR", "UV_TOOL_BIN_DIR"), str(tmp_path / "bin")),
        **dict.fromkeys(("PIPX_DEFAULT_PYTHON", "UV_PYTHON"), sys.executable),
        "PROXY_BUILD": build,  # compiling is slow, so it is done once
        "MYPYC_OPT_LEVEL": "0",
        "LD_PRELOAD": "",  # the registry's certificates need the real time
    }
    type_lines(shell_block(ROOT / "README.md", f"{tool} "), clone, variables)
    version = type_lines("bin/candescent-proxy --version", tmp_path)
    assert version.split()[1] == __version__
    check = "bin/candescent-proxy check-config --base-url http://127.0.0.1:8081"
    type_lines(check, tmp_path, CREDENTIALS)


QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"")
UNSAFE = re.compile(r"https?://\S*[?\[*]|\S\s+#\s|\w\[\w")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_can_be_pasted_into_zsh(page: Path) -> None:
    """Where ``?``, ``[`` and ``#`` are special."""
    lines = list(shell_lines(page))
    assert [line for line in lines if UNSAFE.search(QUOTED.sub("", line))] == []
