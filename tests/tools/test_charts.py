"""The charts' files that are made from their values, and what makes them."""

import json
import re
from pathlib import Path

import pytest
import yaml

from proxy import __version__
from tools.charts import (
    GATEWAY,
    LIBRARY,
    made,
    main,
    read,
    schema,
    table,
)
from tools.repository import ROOT

CHARTS = [GATEWAY, LIBRARY]

SMALL = """
# About what follows.

# Where it is,
# in full.
# @schema {"pattern": "^/"}
place: /here

# How many.
numbers:
  # At least this.
  least: 1
  # Or this | that.
  # @schema {"type": ["integer", "null"]}
  most: null
"""


def test_files_are_up_to_date() -> None:
    """`make charts` would change nothing."""
    old = [path for path, text in made().items() if path.read_text(encoding="utf-8") != text]
    assert old == []
    assert main([]) == 0


def test_usage(capsys: pytest.CaptureFixture[str]) -> None:
    """Any other argument is explained."""
    assert main(["--wrong"]) == 2
    assert "usage" in capsys.readouterr().err


@pytest.mark.parametrize("chart", CHARTS, ids=lambda path: path.name)
def test_charts_are_of_this_version(chart: Path) -> None:
    """Chart and program have one version."""
    about = yaml.safe_load((chart / "Chart.yaml").read_text(encoding="utf-8"))
    assert (about["name"], about["appVersion"]) == (chart.name, __version__)


def test_manifests_are_of_this_version() -> None:
    """They name this version."""
    text = (ROOT / "deploy/sidecar.yaml").read_text(encoding="utf-8")
    assert f"image: candescent-proxy:{__version__}\n" in text
    example = (ROOT / "deploy/kustomize/example/kustomization.yaml").read_text(encoding="utf-8")
    assert f"newTag: {__version__}\n" in example


@pytest.mark.parametrize("chart", CHARTS, ids=lambda path: path.name)
def test_templates_use_every_value_and_no_other(chart: Path) -> None:
    """Unused values are an error."""
    templates = "".join(
        path.read_text(encoding="utf-8") for path in sorted((chart / "templates").iterdir())
    )
    unused = [
        value.name
        for value in read((chart / "values.yaml").read_text(encoding="utf-8"))
        if not re.search(rf"\b{value.name}\b", templates)
    ]
    assert unused == []


def test_comment_becomes_the_description() -> None:
    """The lines above a value, without the schema's."""
    place, numbers = read(SMALL)
    assert (place.description, numbers.description) == ("Where it is, in full.", "How many.")


def test_schema_of_values() -> None:
    """Types follow from defaults, more from comments; unknown names are refused."""
    place, numbers = (value.schema() for value in read(SMALL))
    assert place == {"description": "Where it is, in full.", "type": "string", "pattern": "^/"}
    assert numbers["additionalProperties"] is False
    assert numbers["properties"]["least"]["type"] == "integer"
    assert numbers["properties"]["most"]["type"] == ["integer", "null"]


def test_table_of_values() -> None:
    """A row for each value, its default as JSON, escaped."""
    assert table(read(SMALL)).splitlines()[2:] == [
        '| `place` | `"/here"` | Where it is, in full. |',
        "| **`numbers`** | | How many. |",
        "| `numbers.least` | `1` | At least this. |",
        "| `numbers.most` | `null` | Or this \\| that. |",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("place: here", "line 1: place has no comment above it"),
        ("# About it.\nplace: null", "line 2: place needs a type in a line @schema"),
        ("just words", "expected `name: value`"),
    ],
)
def test_undocumented_values_are_refused(text: str, message: str) -> None:
    """The error has the line."""
    with pytest.raises(ValueError, match=re.escape(message)):
        read(text)


def test_schema_knows_the_settings_of_the_program() -> None:
    """`config` has the program's own schema, and an institution's login has no secret in it."""
    whole = schema(read((GATEWAY / "values.yaml").read_text(encoding="utf-8")))
    settings = whole["$defs"]["Config"]
    assert settings["additionalProperties"] is False
    assert "required" not in settings
    assert settings["properties"]["listen"] == {"type": "string"}
    assert "create" in whole["properties"]["credentials"]["properties"]
    assert "create" not in whole["$defs"]["InstitutionCredentials"]["properties"]


def test_every_reference_leads_somewhere() -> None:
    """No definition is missing from the file that Helm reads."""
    text = (GATEWAY / "values.schema.json").read_text(encoding="utf-8")
    names = set(re.findall(r'"\$ref": "#/\$defs/(\w+)"', text))
    assert names <= json.loads(text)["$defs"].keys()
