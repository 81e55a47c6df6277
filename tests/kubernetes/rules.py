"""Checks of rendered objects."""

import functools
from collections.abc import Sequence

import kubernetes_validate  # type: ignore[import-untyped]  # it has no types
from kubernetes_validate import utils

from tests.kubernetes.commands import NEWEST, OLDEST, Object
from tests.kubernetes.pod_security import violations
from tests.kubernetes.pods import WORKLOADS, pod_of

# It reads all definitions of a version, a megabyte, for each object.
utils.schema_contents = functools.cache(utils.schema_contents)

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


def _schema_errors(each: Object) -> list[str]:
    found = []
    for version in (OLDEST, NEWEST):
        try:
            kubernetes_validate.validate(_without_nulls(each), version, strict=True)
        except kubernetes_validate.ValidationError as error:
            found.append(f"{version}: {'.'.join(map(str, error.path))}: {error.message}")
    return found


def _without_nulls(value: object) -> object:
    # Kubernetes treats null as a missing field; the schemas do not.
    if isinstance(value, dict):
        return {key: _without_nulls(inner) for key, inner in value.items() if inner is not None}
    if isinstance(value, list):
        return [_without_nulls(inner) for inner in value]
    return value
