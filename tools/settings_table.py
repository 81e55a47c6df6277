"""Generates the table of settings in docs/configuration.md from the model.

::

    python -m tools.settings_table            print it
    python -m tools.settings_table --write    put it into docs/configuration.md
"""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from proxy.config.explain import variable_of
from proxy.config.model import Config
from proxy.settings import format_duration, format_size
from tools.passage import Passage
from tools.repository import ROOT

DOCUMENT = ROOT / "docs" / "configuration.md"

PLACE = Passage("settings", "written by `make settings`")

_TYPES = {
    "path": "file",
    "password": "secret",
}
_KINDS = {"seconds": "duration", "bytes": "size"}
_FORMATS = {"seconds": format_duration, "bytes": format_size}
_MAPPINGS = {
    "InstitutionSettings": "institution: its settings",
    "ListenerSettings": "name: its settings",
}
_HEAD = "| setting and variable | type, default | meaning |\n|---|---|---|"


@dataclass(frozen=True)
class Row:
    """One setting: its path, type, default and meaning."""

    path: str
    takes: str
    default: str
    meaning: str
    variable: str

    def __str__(self) -> str:
        """Return the row of the table."""
        name = f"`{self.path}`" + (f"<br>`{self.variable}`" if self.variable else "")
        cells = (name, ", ".join(filter(None, (self.takes, self.default))), self.meaning)
        return f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |"


class Reference:
    """All settings, from the JSON Schema of the model."""

    def __init__(self, model: type[Config] = Config) -> None:
        """Read the model."""
        self._schema = model.model_json_schema()

    def sections(self) -> Iterator[tuple[str, str, list[Row]]]:
        """Yield each section with its description and settings; top-level settings come first."""
        properties = self._schema["properties"]
        nested = {name: self._named(field) for name, field in properties.items()}
        nested = {name: model for name, model in nested.items() if "properties" in model}
        plain = {name: field for name, field in properties.items() if name not in nested}
        yield "", "", [*self._rows(plain, "")]
        for name, model in nested.items():
            about = " ".join(model["description"].replace("``", "`").split())
            yield name, about, [*self._rows(model["properties"], f"{name}.")]

    def entries(self, name: str, model_name: str) -> tuple[str, list[Row]]:
        """Return the description of a mapping's entry and its settings that mean something else."""
        model, outside = self._schema["$defs"][model_name], self._schema["properties"]
        same = {"cors", "access", "callers", "upstream"} | {
            name
            for name, field in model["properties"].items()
            if name in outside and field.get("description") == outside[name].get("description")
        }
        own = {name: field for name, field in model["properties"].items() if name not in same}
        shared = ", ".join(f"`{name}`" for name in model["properties"] if name in same)
        about = f"{' '.join(model['description'].split())} {shared} mean the same here."
        return about, [*self._rows(own, f"{name}.", by_variable=False)]

    def rows(self) -> list[Row]:
        """Yield all settings."""
        return [row for _, _, rows in self.sections() for row in rows]

    def _rows(
        self, properties: dict[str, Any], above: str, *, by_variable: bool = True
    ) -> Iterator[Row]:
        for name, field in properties.items():
            path = above + name
            unit = field.get("x-unit", "")
            default = field.get("default", "")
            default = f"`{_FORMATS[unit](default)}`" if unit else shown(default)
            if "default" not in field:
                default = "required"
            takes = self._takes(field)
            variable = (
                variable_of(tuple(path.split(".")))
                if by_variable and not {":", "{"} & set(takes)
                else ""
            )
            yield Row(path, takes, default, field.get("description", ""), variable)

    def _named(self, field: dict[str, Any]) -> dict[str, Any]:
        """Return the definition that a field refers to, or the field itself."""
        name = field.get("$ref", "").rpartition("/")[2]
        found: dict[str, Any] = self._schema["$defs"][name] if name else field
        return found

    def _takes(self, field: dict[str, Any]) -> str:
        """Return the type of a setting in a word or two."""
        given = [choice for choice in field.get("anyOf", [field]) if choice.get("type") != "null"]
        kind = self._named(given[0])
        if "enum" in kind:
            return " or ".join(f"`{value}`" for value in kind["enum"])
        if kind["type"] == "array":
            return f"list of {self._takes(kind['items'])}"
        if kind["type"] == "object" and "properties" not in kind:
            of = kind.get("additionalProperties") or next(iter(kind["patternProperties"].values()))
            return _MAPPINGS[of["$ref"].rpartition("/")[2]]
        if "properties" in kind:
            return "{" + ", ".join(kind["properties"]) + "}"
        if unit := kind.get("x-unit"):
            return _KINDS[unit]
        known = _TYPES.get(kind.get("format", "")) or _TYPES.get(kind["type"])
        return known or str(kind["type"]).replace("string", "text")


def shown(value: Any) -> str:
    """Return a default as written in a file; empty without one."""
    if value in (None, "", [], {}):
        return ""
    match value:
        case list():
            return ", ".join(map(shown, value))
        case {"path": path}:
            return f"`{path}`"
        case bool():
            return f"`{str(value).lower()}`"
        case float():
            return f"`{value:g}`"
    return f"`{value}`"


def table() -> str:
    """Return the reference in Markdown."""
    blocks = []
    for name, about, rows in Reference().sections():
        heading = f"### `{name}`\n\n{about}\n" if name else "### Without a section\n"
        blocks.append("\n".join([heading, _HEAD, *map(str, rows)]))
    for name, model in (
        ("institutions.ID", "InstitutionSettings"),
        ("listeners.NAME", "ListenerSettings"),
    ):
        about, rows = Reference().entries(name, model)
        lines = [_HEAD, *map(str, rows)] if rows else []
        blocks.append("\n".join([f"### `{name}`\n\n{about}\n", *lines]).rstrip())
    return "\n\n".join(blocks)


def main(arguments: Sequence[str]) -> int:
    """Run the command line; return the exit code."""
    if arguments == ["--write"]:
        PLACE.write(DOCUMENT, table())
    else:
        print(table())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
