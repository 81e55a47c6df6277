"""Each law on imports, broken on purpose in a small made-up tree."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tools import architecture
from tools.architecture import PLACE, Tree, broken_laws, draw, drawn, untested

Grow = Callable[[dict[str, str]], Tree]


@pytest.fixture
def grow(tmp_path: Path) -> Grow:
    """Plant files, by path below a package ``proxy``, and read them as a tree."""

    def plant(files: dict[str, str]) -> Tree:
        package = tmp_path / "proxy"
        for name, text in {"__init__.py": "", **files}.items():
            (package / name).parent.mkdir(parents=True, exist_ok=True)
            (package / name).write_text(text, encoding="utf-8")
        return Tree(package)

    return plant


@pytest.mark.parametrize(
    "statement",
    [
        "import proxy.tokens.cache",
        "import proxy.tokens.cache as c",
        "from proxy.tokens import cache",
        "from proxy.tokens.cache import TokenCache",
        "from .tokens.cache import TokenCache",
        "from .tokens import cache",
        "def late():\n    from proxy.tokens.cache import TokenCache",
        "if TYPE_CHECKING:\n    from proxy.tokens.cache import TokenCache",
    ],
)
def test_every_way_to_import_is_an_arrow(grow: Grow, statement: str) -> None:
    """However it is spelt and wherever it stands, an import ties two rooms together."""
    tree = grow({"forwarder.py": statement, "tokens/__init__.py": "", "tokens/cache.py": ""})
    assert tree.arrows() == {("forwarder", "tokens.cache")}


def test_import_from_a_package_is_an_arrow_to_it(grow: Grow) -> None:
    """What a package hands out belongs to the package."""
    tree = grow({"forwarder.py": "from proxy.upstream import Pool", "upstream/__init__.py": ""})
    assert tree.arrows() == {("forwarder", "upstream")}


def test_relative_import_in_a_package_starts_from_it(grow: Grow) -> None:
    """One dot means the package itself, two the one around it."""
    tree = grow(
        {"upstream/__init__.py": "from .pool import Pool\nfrom ..errors import X"}
        | {"upstream/pool.py": "from ..errors import X\nfrom . import tls", "upstream/tls.py": ""}
        | {"errors.py": ""}
    )
    assert tree.edges["upstream"] == {"upstream.pool", "errors"}
    assert tree.edges["upstream.pool"] == {"upstream.tls", "errors"}


def test_the_version_and_other_libraries_are_no_arrow(grow: Grow) -> None:
    """Neither the package's root nor anything outside is a room."""
    tree = grow({"cli.py": "from proxy import __version__\nimport json\nimport proxyless.errors"})
    assert tree.arrows() == set()


def test_a_tree_that_keeps_the_laws(grow: Grow) -> None:
    """What the design asks for is allowed."""
    tree = grow(
        {"cli.py": "from proxy import app, sandbox\n", "app.py": "from proxy import forwarder"}
        | {"forwarder.py": "from proxy.tokens import cache\nfrom proxy import routing"}
        | {"tokens/__init__.py": "", "tokens/cache.py": "import asyncio\nimport proxy.tokens.token"}
        | {"tokens/token.py": "from proxy.errors import TokenError", "errors.py": "import enum"}
        | {"routing.py": "from proxy.tokens.token import Kind", "sandbox/__init__.py": ""}
        | {"metrics.py": "import prometheus_client", "tasks.py": "def f(loop): loop.create_task()"}
        | {"upstream/pool.py": "from proxy.upstream import tls", "upstream/tls.py": "import ssl"}
    )
    assert list(broken_laws(tree)) == []


BREACHES = {
    "upward": (
        {"routing.py": "import proxy.forwarder", "forwarder.py": ""},
        "routing imports forwarder, which stands above it",
    ),
    "upward inside tokens": (
        {"tokens/grants.py": "import proxy.tokens.cache", "tokens/cache.py": ""},
        "tokens.grants imports tokens.cache, which stands above it",
    ),
    "unknown room": (
        {"helpers.py": ""},
        "helpers has no floor: give it one in tools/architecture.py",
    ),
    "circle": (
        {"routing.py": "import proxy.headers", "headers.py": "import proxy.routing"},
        "imports run in a circle: ",
    ),
    "circle in a room": (
        {"upstream/a.py": "import proxy.upstream.b", "upstream/b.py": "import proxy.upstream.a"},
        "imports run in a circle: ",
    ),
    "impure": ({"headers.py": "import time"}, "headers is pure, but headers imports time"),
    "impure part of a library": (
        {"headers.py": "from os.path import join"},
        "headers is pure, but headers imports os",
    ),
    "impure at one remove": (
        {"routing.py": "import proxy.clock", "clock.py": "import time"},
        "routing is pure, but clock imports time",
    ),
    "impure package around a pure module": (
        {"tokens/__init__.py": "import asyncio", "tokens/token.py": ""},
        "tokens.token is pure, but tokens imports asyncio",
    ),
    "prometheus": (
        {"forwarder.py": "from prometheus_client import Counter"},
        "forwarder imports prometheus_client, which is for metrics alone",
    ),
    "the bank knows the proxy": (
        {"sandbox/server.py": "import proxy.errors", "errors.py": ""},
        "sandbox imports errors: the bank knows nothing of the proxy",
    ),
    "the proxy knows the bank": (
        {"app.py": "from proxy.sandbox import server", "sandbox/server.py": ""},
        "app imports sandbox, which is for the command line alone",
    ),
    "loose task of a held loop": (
        {"app.py": "self.loop.create_task(work())"},
        "app, line 1, makes a task that proxy.tasks does not know",
    ),
    "loose task of the running loop": (
        {"app.py": "\nasyncio.get_running_loop().create_task(work())"},
        "app, line 2, makes a task that proxy.tasks does not know",
    ),
}


@pytest.mark.parametrize(("files", "complaint"), BREACHES.values(), ids=BREACHES)
def test_a_breach_is_named(grow: Grow, files: dict[str, str], complaint: str) -> None:
    """A broken law is reported once, with the rooms it is about."""
    (found,) = broken_laws(grow(files))
    assert found.startswith(complaint)


def test_task_group_is_no_loose_task(grow: Grow) -> None:
    """A task group holds its tasks and ends with them."""
    tree = grow(
        {"app.py": "async def f():\n async with TaskGroup() as group: group.create_task(x)"}
    )
    assert list(broken_laws(tree)) == []


def test_drawing_is_read_as_it_was_drawn() -> None:
    """What ``draw`` writes, ``drawn`` reads."""
    arrows = {("app", "config"), ("app", "forwarder"), ("forwarder", "tokens.cache")}
    assert drawn(f"page\n{PLACE.opening}\n{draw(arrows)}\n{PLACE.closing}\nx --> y\n") == arrows


def test_page_without_a_drawing_is_an_error() -> None:
    """A lost mark must not pass for a drawing without arrows."""
    with pytest.raises(ValueError, match="no place between"):
        drawn(f"page {PLACE.opening} app --> config")


@pytest.mark.parametrize(
    ("modules", "tests", "missing"),
    [
        (["routing.py"], ["test_routing.py"], []),
        (["upstream/pool.py"], ["test_pool.py"], []),
        (["upstream/pool.py"], ["upstream/test_pool.py"], []),
        (["upstream/pool.py"], ["test_upstream_pool.py"], []),
        (["routing.py"], ["test_routes.py"], ["routing"]),
        (["routing.py"], [], ["routing"]),
        (["__main__.py", "upstream/__init__.py"], [], []),
        (
            ["server.py", "sandbox/server.py"],
            ["proxy/test_server.py"],
            ["sandbox.server", "server"],
        ),
        (["server.py", "sandbox/server.py"], ["test_server.py", "sandbox/test_server.py"], []),
        (["server.py", "sandbox/server.py"], ["test_server.py"], ["sandbox.server"]),
    ],
)
def test_test_files_bear_their_modules_names(
    grow: Grow, tmp_path: Path, modules: list[str], tests: list[str], missing: list[str]
) -> None:
    """A module is missed unless a file is named after it, and two of a name need a file each."""
    for name in tests:
        (tmp_path / "tests" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "tests" / name).touch()
    found = untested(grow(dict.fromkeys(modules, "")), tmp_path / "tests")
    assert [line.split()[0] for line in found] == missing


def test_command_complains_and_fails(
    grow: Grow,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The command says what is wrong and exits 1, and is content with a good tree."""
    monkeypatch.setattr(architecture, "ROOT", tmp_path)
    grow({"headers.py": ""})
    assert architecture.main([]) == 0
    grow({"headers.py": "import time"})
    assert architecture.main([]) == 1
    assert "headers is pure" in capsys.readouterr().out


def test_command_draws_and_writes(
    grow: Grow,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """``--draw`` prints the graph, ``--write`` puts it into the page."""
    page = tmp_path / "architecture.md"
    page.write_text(f"{PLACE.opening}{PLACE.closing}", encoding="utf-8")
    monkeypatch.setattr(architecture, "ROOT", tmp_path)
    monkeypatch.setattr(architecture, "DOCUMENT", page)
    grow({"cli.py": "import proxy.app", "app.py": ""})
    assert architecture.main(["--draw"]) == 0
    assert "cli --> app" in capsys.readouterr().out
    assert architecture.main(["--write"]) == 0
    assert drawn(page.read_text(encoding="utf-8")) == {("cli", "app")}
