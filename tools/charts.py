"""Generates the charts' files from their values: ``python -m tools.charts [--write]``.

A chart's ``values.yaml`` is the one source. The comment above a value becomes its description in
``values.schema.json`` and its row in ``README.md``; its default becomes its type; a line
``# @schema {…}`` in the comment adds what a default cannot say. The schema of ``config`` is the
program's own, so that a misspelt setting is refused when the chart is rendered. The dashboard is
built by ``tools.dashboard``; it and the rules of deploy/prometheus go into the gateway's chart as
they are. Without ``--write`` nothing is changed, and a difference is an error.
"""

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from proxy.config.model import Config
from tools import dashboard
from tools.passage import Passage
from tools.repository import ROOT

LIBRARY, GATEWAY = ROOT / "helm/candescent-proxy-sidecar", ROOT / "helm/candescent-proxy"
SHARED = "templates/_shared.tpl"
RULES, DASHBOARD = ROOT / "deploy/prometheus/rules.yaml", ROOT / "deploy/grafana/dashboard.json"
PLACE = Passage("values", "made by `make charts`")

_TYPES = {str: "string", bool: "boolean", int: "integer", list: "array", dict: "object"}


@dataclass(frozen=True, slots=True)
class Value:
    """One value of a chart: a leaf, or a section of values."""

    name: str
    default: Any
    description: str
    constraints: dict[str, Any]
    inner: tuple["Value", ...] = field(default=())

    def schema(self) -> dict[str, Any]:
        """Return the JSON Schema that Helm validates a user's value against."""
        schema: dict[str, Any] = {"description": self.description}
        if "$ref" in self.constraints:
            return schema | self.constraints
        if self.default is not None:
            schema["type"] = _TYPES[type(self.default)]
        if self.inner:
            schema["additionalProperties"] = False
            schema["properties"] = {value.name: value.schema() for value in self.inner}
        return schema | self.constraints

    def rows(self, above: str = "") -> Iterator[str]:
        """Yield the rows of this value and of the values below it."""
        path = f"{above}{self.name}"
        description = self.description.replace("|", "\\|")
        if self.inner:
            yield f"| **`{path}`** | | {description} |"
            for value in self.inner:
                yield from value.rows(f"{path}.")
        else:
            yield f"| `{path}` | `{json.dumps(self.default)}` | {description} |"


def read(text: str) -> tuple[Value, ...]:
    """Return the values in the text of a ``values.yaml``. Raises ``ValueError``.

    A value without a comment or without a known type is an error.
    """
    document = yaml.compose(text)
    if not isinstance(document, yaml.MappingNode):
        raise ValueError("expected `name: value`")
    return tuple(_values(document, text.splitlines()))


def _values(mapping: yaml.MappingNode, lines: Sequence[str]) -> Iterator[Value]:
    for key, node in mapping.value:
        line = key.start_mark.line
        words, constraints = _comment(lines, line, key.start_mark.column)
        if not words:
            raise ValueError(f"line {line + 1}: {key.value} has no comment above it")
        is_section = isinstance(node, yaml.MappingNode) and node.value
        inner = tuple(_values(node, lines)) if is_section else ()
        default = yaml.safe_load(yaml.serialize(node))
        if default is None and "type" not in constraints:
            raise ValueError(f"line {line + 1}: {key.value} needs a type in a line @schema")
        yield Value(key.value, default, " ".join(words), constraints, inner)


def _comment(lines: Sequence[str], line: int, column: int) -> tuple[list[str], dict[str, Any]]:
    """Return the comment and the constraints above a line."""
    prefix = " " * column + "# "
    first = line
    while first and lines[first - 1].startswith(prefix):
        first -= 1
    words: list[str] = []
    constraints: dict[str, Any] = {}
    for text in (above.removeprefix(prefix) for above in lines[first:line]):
        if text.startswith("@schema "):
            constraints |= json.loads(text.removeprefix("@schema "))
        else:
            words.append(text)
    return words, constraints


def schema(values: Sequence[Value]) -> dict[str, Any]:
    """Return the ``values.schema.json`` of a chart."""
    credentials = next(value for value in values if value.name == "credentials").schema()
    properties = credentials["properties"]
    own = {name: inner for name, inner in properties.items() if name != "create"}
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "type": "object",
        "additionalProperties": False,
        "properties": {
            **{value.name: value.schema() for value in values},
            "global": {"description": "Helm gives it to every chart.", "type": "object"},
        },
        "$defs": {
            "InstitutionCredentials": credentials | {"properties": own},
            **settings_schema(),
        },
    }


def settings_schema() -> dict[str, Any]:
    """Return the definitions that describe the program's configuration, ``Config`` among them."""
    whole = Config.model_json_schema()
    definitions = whole.pop("$defs")
    # Other values set the required settings, so ``config`` requires none.
    whole.pop("required")
    # These two are written as text, whatever type they are parsed into.
    whole["properties"] |= {name: {"type": "string"} for name in ("listen", "admin")}
    pattern = definitions["RequestPattern"]
    definitions["RequestPattern"] = {"anyOf": [{"type": "string"}, pattern]}
    return _without_titles({"Config": whole, **definitions})


def _without_titles(schema: dict[str, Any]) -> dict[str, Any]:
    # Titles only repeat the names.
    return {
        name: _without_titles(inner) if isinstance(inner, dict) else inner
        for name, inner in schema.items()
        if not (name == "title" and isinstance(inner, str))
    }


def table(values: Sequence[Value]) -> str:
    """Return the table of values for a page."""
    rows = [row for value in values for row in value.rows()]
    return "\n".join(["| value | default | meaning |", "|---|---|---|", *rows])


def made() -> dict[Path, str]:
    """Return all generated files with their text."""
    files = {
        GATEWAY / SHARED: (LIBRARY / SHARED).read_text(encoding="utf-8"),
        DASHBOARD: dashboard.text(),
        GATEWAY / "files/rules.yaml": RULES.read_text(encoding="utf-8"),
        GATEWAY / "files/dashboard.json": dashboard.text(),
    }
    for chart in (LIBRARY, GATEWAY):
        values = read((chart / "values.yaml").read_text(encoding="utf-8"))
        page = chart / "README.md"
        files[page] = PLACE.put(page.read_text(encoding="utf-8"), table(values))
        files[chart / "values.schema.json"] = json.dumps(schema(values), indent=2) + "\n"
    return files


def main(arguments: Sequence[str]) -> int:
    """Write the files, or print which are out of date; return the exit code."""
    if list(arguments) not in ([], ["--write"]):
        print("usage: python -m tools.charts [--write]", file=sys.stderr)
        return 2
    old = {
        path: text
        for path, text in made().items()
        if not path.exists() or path.read_text(encoding="utf-8") != text
    }
    for path, text in old.items():
        if arguments:
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
        else:
            print(f"{path.relative_to(ROOT)} is out of date; run make charts", file=sys.stderr)
    return bool(old) and not arguments


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
