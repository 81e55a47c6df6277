"""Checks of rendered objects."""

import functools
from collections.abc import Sequence
from typing import Any

from tests.kubernetes.commands import NEWEST, OLDEST, Object
from tests.kubernetes.pod_security import violations
from tests.kubernetes.pods import WORKLOADS, pod_of

EXTENSIONS = ("monitoring.coreos.com/v1", "cert-manager.io/v1")
"""Kinds that a cluster only has where somebody installed them; no schema of theirs is here."""


def broken(objects: Sequence[Object]) -> list[str]:
    """Return the errors of rendered objects, for the oldest and newest Kubernetes."""
    assert objects, "nothing was rendered"
    found = []
    for each in objects:
        title = f"{each['kind']} {each['metadata']['name']}"
        if each["apiVersion"] not in EXTENSIONS:
            found += [f"{title}: {text}" for text in _schema_errors(each)]
        if each["kind"] in (*WORKLOADS, "CronJob"):
            found += [f"{title}: {text}" for text in violations(pod_of(each).spec)]
    names = [(each["kind"], each["metadata"]["name"]) for each in objects]
    return found + [f"twice: {name}" for name in names if names.count(name) > 1]


@functools.cache
def _validator() -> Any:
    # Importing it takes seconds, which only the worker that validates has to spend.
    import kubernetes_validate  # type: ignore[import-untyped]  # noqa: PLC0415 - it has no types
    from kubernetes_validate import utils  # noqa: PLC0415 - as above

    # It reads all definitions of a version, a megabyte, for each object.
    utils.schema_contents = functools.cache(utils.schema_contents)
    return kubernetes_validate


def _schema_errors(each: Object) -> list[str]:
    validator = _validator()
    found = []
    for version in (OLDEST, NEWEST):
        try:
            validator.validate(_without_nulls(each), version, strict=True)
        except validator.ValidationError as error:
            found.append(f"{version}: {'.'.join(map(str, error.path))}: {error.message}")
    return found


def _without_nulls(value: object) -> object:
    # Kubernetes treats null as a missing field; the schemas do not.
    if isinstance(value, dict):
        return {key: _without_nulls(inner) for key, inner in value.items() if inner is not None}
    if isinstance(value, list):
        return [_without_nulls(inner) for inner in value]
    return value
