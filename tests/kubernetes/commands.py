"""The tools of these tests; without them a test is skipped with the reason."""

import functools
import json
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from tests.support.needs import find, program, root

ROOT = Path(__file__).parents[2]
GATEWAY, LIBRARY = ROOT / "helm/candescent-proxy", ROOT / "helm/candescent-proxy-sidecar"
OLDEST, NEWEST = "1.29", "1.37"
"""The Kubernetes that the charts are made for by default, and the newest that is known."""

Object = dict[str, Any]
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""PyYAML's safe loader, in C where it has one, which is ten times as fast."""


def run(*command: object, given: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, whatever its exit code."""
    return subprocess.run(
        [*map(str, command)], input=given, capture_output=True, text=True, check=False
    )


def output(*command: object, given: str | None = None) -> str:
    """Run a command that must succeed; return its output."""
    done = run(*command, given=given)
    assert done.returncode == 0, f"{' '.join(map(str, command))}:\n{done.stdout}{done.stderr}"
    return done.stdout


def helm(*arguments: object, given: str | None = None) -> str:
    """Run a helm command that must succeed."""
    return output(program("helm"), *arguments, given=given)


def render(chart: Path, values: Mapping[str, Any], *flags: str, kube: str = NEWEST) -> list[Object]:
    """Return the objects that a chart renders with these values."""
    return objects(_rendered(chart, json.dumps(values), flags, kube))


@functools.cache
def _rendered(chart: Path, values: str, flags: tuple[str, ...], kube: str) -> str:
    return helm(*_template(chart, kube), *flags, given=values)


def refusal(chart: Path, values: Mapping[str, Any], *flags: str, kube: str = NEWEST) -> str:
    """Return helm's error for invalid values."""
    done = run(program("helm"), *_template(chart, kube), *flags, given=json.dumps(values))
    assert done.returncode != 0, f"rendered all the same:\n{done.stdout}"
    return done.stderr


def _template(chart: Path, kube: str) -> list[object]:
    return ["template", "app", chart, "--values", "-", "--kube-version", f"{kube}.0"]


def objects(text: str) -> list[Object]:
    """Return the objects in a text of many YAML documents."""
    return [document for document in yaml.load_all(text, LOADER) if document]


def only(found: Iterable[Object], kind: str, name: str | None = None) -> Object:
    """Return the only object of this kind."""
    (one,) = (
        each for each in found if each["kind"] == kind and name in (None, each["metadata"]["name"])
    )
    return one


@functools.cache
def podman() -> tuple[str, ...]:
    """Return the podman command, or skip the test."""
    command = program("podman")
    root()
    # crun, the usual default, fails on machines with both versions of control groups.
    return (command, "--runtime", "runc") if find("runc") else (command,)
