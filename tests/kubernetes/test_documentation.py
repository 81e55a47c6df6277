"""The examples of docs/kubernetes.md."""

import re
from pathlib import Path

import pytest
import yaml

from tests.kubernetes.commands import GATEWAY, ROOT, render
from tests.kubernetes.rules import broken

PAGE = (ROOT / "docs/kubernetes.md").read_text(encoding="utf-8")
SHOWN = re.findall(r"```yaml\n# (gateway|sidecar)\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.parametrize(("chart", "text"), SHOWN)
def test_values_render(chart: str, text: str, examples: Path) -> None:
    """Every example renders valid objects."""
    charts = {"gateway": GATEWAY, "sidecar": examples / "legacy-deployment"}
    assert broken(render(charts[chart], yaml.safe_load(text))) == []


def test_all_examples_are_tested() -> None:
    """Every YAML block names its chart."""
    assert len(SHOWN) == PAGE.count("```yaml")


def test_named_templates_exist() -> None:
    """The library defines them."""
    library = (ROOT / "helm/candescent-proxy-sidecar/templates/_sidecar.tpl").read_text("utf-8")
    assert set(re.findall(r'include "([\w.-]+)"', PAGE)) <= set(
        re.findall(r'define "(\S+)"', library)
    )
