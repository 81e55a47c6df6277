"""The laws on imports, held against the source, and the drawing of what imports what.

::

    python -m tools.architecture            say what breaks a law; exit 1 if anything does
    python -m tools.architecture --draw     print the import graph as it is, in Mermaid
    python -m tools.architecture --write    put it into docs/architecture.md

A *module* is named by its path below the package: ``tokens.cache``. A *room* is what the drawing
shows: a module or a whole package, except that the modules of ``tokens`` are rooms of their own,
because they stand on three different floors. An import counts wherever it stands: in a function
and under ``TYPE_CHECKING`` too, for both tie two rooms together in a reader's head.
"""

import ast
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

from tools.passage import Passage

ROOT = Path(__file__).parent.parent
DOCUMENT = ROOT / "docs" / "architecture.md"

COMMAND_LINE = {"cli", "commands", "desk", "probe", "runner"}

# From the roof down. A room imports from its own floor or from a lower one, and never in a circle.
FLOORS: Sequence[set[str]] = (
    {"__main__"},
    COMMAND_LINE,
    {"app", "core", "doors", "fleet", "parts", "watching"},
    {"forwarder", "bodies", "errand", "relay", "tokens.refresher", "admin", "sandbox"}
    | {"tokens.follower"}
    | {"admission", "business", "ports", "reload", "rlimits"},
    {"callers", "routing", "headers", "upstream", "tokens", "tokens.endpoint", "tokens.cache"}
    | {"tokens.fixed", "tokens.refresh_tokens", "bank_client", "policy", "users"}
    | {"tokens.shared", "tokens.store", "tokens.store_clients"}
    | {
        "certificates",
        "clock",
        "config",
        "credentials",
        "ids",
        "links",
        "logs",
        "metrics",
        "origins",
        "private",
        "tasks",
    }
    | {"paths", "patterns", "systemd", "tracing"},
    {"bank_errors", "errors", "facts"}
    | {"tokens.grants", "tokens.pace", "tokens.sharing", "tokens.token"}
    | {"tokens.records", "tokens.sealing"}
    | {"tokens.store_facts", "tokens.store_script", "tokens.store_url"},
)

PURE = frozenset(
    {"admin.advice", "admin.masking", "admin.verdict", "admin.visitors"}
    | {"bank_errors", "desk.doctor.findings", "desk.doctor.remedies", "errors", "facts", "headers"}
    | {"links", "origins", "paths", "patterns"}
    | {"policy", "routing", "tokens.grants", "tokens.pace", "tokens.records"}
    | {"tokens.sealing", "tokens.sharing"}
    | {"tokens.store_facts", "tokens.store_script", "tokens.store_url", "tokens.token", "users"}
)
IMPURE = frozenset({"aiohttp", "asyncio", "os", "random", "socket", "ssl", "time"})

PLACE = Passage("imports", "drawn by `make drawing`")


@dataclass(frozen=True)
class Module:
    """One source file: its name below the package, and what its text imports."""

    name: str
    path: Path
    package: str

    @cached_property
    def syntax(self) -> ast.Module:
        """The file, parsed."""
        return ast.parse(self.path.read_text(encoding="utf-8"), self.path)

    @cached_property
    def imports(self) -> frozenset[str]:
        """Every name that is imported, in full: ``asyncio``, ``proxy.tokens.cache.TokenCache``."""
        return frozenset(self._imports())

    @property
    def _home(self) -> list[str]:
        """The package that a relative import starts from."""
        parts = [self.package, *self.name.split(".")]
        return [part for part in parts if part] if self._is_package else parts[:-1]

    @property
    def _is_package(self) -> bool:
        return self.path.name == "__init__.py"

    def _imports(self) -> Iterator[str]:
        for node in ast.walk(self.syntax):
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                above = self._home[: len(self._home) - node.level + 1] if node.level else []
                base = [*above, *filter(None, [node.module])]
                yield from (".".join([*base, alias.name]) for alias in node.names)


class Tree:
    """A package as its source says it is."""

    def __init__(self, package: Path) -> None:
        """Read every module below the directory ``package``."""
        self.package = package
        self.modules: Mapping[str, Module] = {
            module.name: module for module in map(self._module, sorted(package.rglob("*.py")))
        }
        self.edges: Mapping[str, frozenset[str]] = {
            name: frozenset(filter(None, map(self._target, module.imports))) - {name}
            for name, module in self.modules.items()
        }

    def arrows(self) -> set[tuple[str, str]]:
        """Which room imports from which other."""
        pairs = ((room(a), room(b)) for a, targets in self.edges.items() for b in targets)
        return {(a, b) for a, b in pairs if a != b}

    def reach(self, name: str) -> set[str]:
        """Every module that importing ``name`` brings in, itself and its packages included."""
        found: set[str] = set()
        waiting = {name}
        while waiting:
            current = waiting.pop()
            found.add(current)
            package = current.rpartition(".")[0]
            waiting |= ({package} & self.modules.keys() | self.edges[current]) - found
        return found

    def _module(self, path: Path) -> Module:
        parts = path.relative_to(self.package).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        return Module(name, path, self.package.name)

    def _target(self, imported: str) -> str | None:
        """The module behind an imported name; None outside the package and for its root."""
        first, _, name = imported.partition(".")
        if first != self.package.name:
            return None
        while name and name not in self.modules:  # a class or function: its module is meant
            name = name.rpartition(".")[0]
        return name or None


def room(module: str) -> str:
    """The room a module stands in."""
    first = module.partition(".")[0]
    return module if first == "tokens" else first


def broken_laws(tree: Tree) -> Iterator[str]:
    """Say what breaks a law of the house, one sentence each."""
    yield from _upward(tree)
    yield from _circular(tree)
    yield from _impure(tree)
    yield from _out_of_place(tree)
    yield from _loose_tasks(tree)


def _upward(tree: Tree) -> Iterator[str]:
    height = {name: -depth for depth, floor in enumerate(FLOORS) for name in floor}
    homeless = {room(name) for name in tree.modules if name} - height.keys()
    for name in sorted(homeless):
        yield f"{name} has no floor: give it one in tools/architecture.py"
    for a, b in sorted(tree.arrows()):
        if not {a, b} & homeless and height[a] < height[b]:
            yield f"{a} imports {b}, which stands above it"


def _circular(tree: Tree) -> Iterator[str]:
    try:
        TopologicalSorter(tree.edges).prepare()
    except CycleError as error:
        yield "imports run in a circle: " + " <- ".join(error.args[1])


def _impure(tree: Tree) -> Iterator[str]:
    for name in sorted(PURE & tree.modules.keys()):
        for used in sorted(tree.reach(name)):
            outside = {imported.partition(".")[0] for imported in tree.modules[used].imports}
            for library in sorted(outside & IMPURE):
                yield f"{name} is pure, but {used} imports {library}"


def _out_of_place(tree: Tree) -> Iterator[str]:
    for name, module in tree.modules.items():
        libraries = {imported.partition(".")[0] for imported in module.imports}
        if "prometheus_client" in libraries and room(name) != "metrics":
            yield f"{name} imports prometheus_client, which is for metrics alone"
    for a, b in sorted(tree.arrows()):
        if a == "sandbox":
            yield f"sandbox imports {b}: the bank knows nothing of the proxy"
        if b == "sandbox" and a not in COMMAND_LINE:
            yield f"{a} imports sandbox, which is for the command line alone"


def _loose_tasks(tree: Tree) -> Iterator[str]:
    """Find what ruff cannot: a task made by a loop that is held in a variable."""
    for name, module in tree.modules.items():
        for node in ast.walk(module.syntax):
            if name == "tasks" or not (
                isinstance(node, ast.Attribute) and node.attr == "create_task"
            ):
                continue
            if re.search(r"loop(\(\))?$", ast.unparse(node.value)):
                yield f"{name}, line {node.lineno}, makes a task that proxy.tasks does not know"


def untested(tree: Tree, tests: Path) -> Iterator[str]:
    """Name the modules without a test file of their name.

    ``upstream/pool.py`` has ``test_pool.py`` or ``test_upstream_pool.py`` anywhere below ``tests``;
    where two modules share a name, the short one must stand in a directory named after the package.
    """
    files = [path.relative_to(tests) for path in tests.rglob("test_*.py")]
    named = [name for name, module in tree.modules.items() if not module.path.stem.startswith("__")]
    stems = [name.rpartition(".")[2] for name in named]
    for name, stem in zip(named, stems, strict=True):
        package = name.rpartition(".")[0].rpartition(".")[2]
        short, long = f"test_{stem}.py", f"test_{name.replace('.', '_')}.py"
        homes = {file.parent.name for file in files if file.name == short}
        if package in homes or (homes and stems.count(stem) == 1):
            continue
        if short == long or long not in {file.name for file in files}:
            place = "" if stems.count(stem) == 1 else f" in tests/{package}"
            yield f"{name} has no test file that bears its name ({short}{place})"


def draw(arrows: set[tuple[str, str]]) -> str:
    """The arrows as a Mermaid graph."""
    targets = {a: sorted(b for other, b in arrows if other == a) for a, _ in arrows}
    lines = [f"    {a} --> {' & '.join(bs)}" for a, bs in sorted(targets.items())]
    return "\n".join(["```mermaid", "graph TD", *lines, "```"])


def drawn(document: str) -> set[tuple[str, str]]:
    """The arrows that a document shows between its two marks."""
    lines = re.findall(r"^\s*(\S+) --> (.+)$", PLACE.read(document), re.MULTILINE)
    return {(a, b.strip()) for a, bs in lines for b in bs.split("&")}


def main(arguments: Sequence[str]) -> int:
    """Do what the command line asks for; return the exit code."""
    tree = Tree(ROOT / "proxy")
    if arguments == ["--draw"]:
        print(draw(tree.arrows()))
    elif arguments == ["--write"]:
        PLACE.write(DOCUMENT, draw(tree.arrows()))
    else:
        complaints = list(broken_laws(tree))
        print("\n".join(complaints) or "every law on imports is held")
        return bool(complaints)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
