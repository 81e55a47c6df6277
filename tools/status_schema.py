"""The schema of /api/status, made from its model: docs/status.schema.json, docs/status-page.md.

::

    python -m tools.status_schema            print the tables
    python -m tools.status_schema --write    write both
"""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from proxy.admin.document import Status
from tools.passage import Passage
from tools.repository import ROOT

DOCUMENT = ROOT / "docs" / "status-page.md"
SCHEMA = ROOT / "docs" / "status.schema.json"
PLACE = Passage("status", "written by `make status-page`")
_HEAD = "| field | type | meaning |\n|---|---|---|"
_TYPES = {"integer": "whole number", "boolean": "true or false", "string": "text"}


def schema() -> dict[str, Any]:
    """Return the JSON Schema of the document."""
    made = Status.model_json_schema(mode="serialization", by_alias=True)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **made}


def tables() -> str:
    """Return a table for the document and one for each of its parts, in Markdown."""
    made = schema()
    parts = made["$defs"]
    blocks = [_table("The document", made, parts)]
    for name in _in_order(made, parts):
        if "properties" in parts[name]:
            about = " ".join(parts[name]["description"].split())
            blocks.append(_table(f"`{_heading(name)}`", parts[name], parts, about))
    return "\n\n".join(blocks)


def _table(title: str, part: Mapping[str, Any], parts: Mapping[str, Any], about: str = "") -> str:
    rows = [
        f"| `{name}` | {_type(field, parts)} | {field.get('description') or _about(field, parts)} |"
        for name, field in part["properties"].items()
    ]
    return "\n".join([f"### {title}", "", *([about, ""] if about else []), _HEAD, *rows])


def _about(field: Mapping[str, Any], parts: Mapping[str, Any]) -> str:
    name = next(_names(field))
    about = " ".join(parts[name]["description"].split())
    return about[0].lower() + about[1:].removesuffix(".")


def _type(field: Mapping[str, Any], parts: Mapping[str, Any]) -> str:
    """Say in words what a field takes."""
    match field:
        case {"anyOf": choices}:
            return " or ".join(_type(choice, parts) for choice in choices)
        case {"$ref": _}:
            name = next(_names(field))
            part = parts[name]
            return _type(part, parts) if "properties" not in part else f"`{_heading(name)}`"
        case {"enum": values}:
            return ", ".join(f"`{value}`" for value in values)
        case {"const": value}:
            return f"`{value}`"
        case {"type": "array", "items": items}:
            return f"list of {_type(items, parts)}"
    return _TYPES.get(str(field["type"]), str(field["type"]))


def _names(field: Mapping[str, Any]) -> Iterator[str]:
    """Name the parts that a field may hold."""
    if "$ref" in field:
        yield field["$ref"].rpartition("/")[2]
    for choice in [*field.get("anyOf", ()), *filter(None, [field.get("items")])]:
        yield from _names(choice)


def _in_order(made: Mapping[str, Any], parts: Mapping[str, Any]) -> list[str]:
    """Name the parts as a reader meets them."""
    found: list[str] = []
    waiting = [made]
    while waiting:
        for field in waiting.pop(0)["properties"].values():
            for name in _names(field):
                if name not in found and "properties" in parts[name]:
                    found.append(name)
                    waiting.append(parts[name])
    return found


def _heading(name: str) -> str:
    return name[0].lower() + name[1:]


def main(arguments: Sequence[str]) -> int:
    """Do what the command line asks for; return the exit code."""
    if arguments == ["--write"]:
        SCHEMA.write_text(json.dumps(schema(), indent=2) + "\n", encoding="utf-8")
        PLACE.write(DOCUMENT, tables())
    else:
        print(tables())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
