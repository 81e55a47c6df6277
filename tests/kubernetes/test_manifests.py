"""The sidecar without Helm: plain manifest and Kustomize component."""

import shutil
from pathlib import Path

import pytest
import yaml

from tests.kubernetes.commands import ROOT, Object, objects, only, output, render
from tests.kubernetes.pods import Secrets, pod_of
from tests.kubernetes.program import InstalledProgram
from tests.kubernetes.rules import broken
from tests.support.needs import program

DEPLOY = ROOT / "deploy"


def kustomize(directory: Path) -> list[Object]:
    """Return the objects of a directory."""
    return objects(output(program("kustomize"), "build", directory))


def test_plain_manifest_is_the_rendered_chart(examples: Path) -> None:
    """They are equal."""
    (plain,) = objects((DEPLOY / "sidecar.yaml").read_text(encoding="utf-8"))
    assert plain == only(render(examples / "legacy-deployment", {}), "Deployment")


def test_component_is_valid(secrets: Secrets, tmp_path: Path) -> None:
    """By the same rules, and the program accepts its configuration."""
    built = kustomize(DEPLOY / "kustomize/example")
    assert broken(built) == []
    pod = pod_of(only(built, "Deployment"), built, secrets)
    done = InstalledProgram(pod, tmp_path).check()
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("kind", ["Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob"])
def test_component_supports_every_kind_of_workload(kind: str, tmp_path: Path) -> None:
    """The sidecar is first, and the application unchanged."""
    shutil.copytree(DEPLOY / "kustomize", tmp_path / "kustomize")
    own = {
        "initContainers": [{"name": "own-init", "image": "a"}],
        "containers": [{"name": "own", "image": "a"}],
        "volumes": [{"name": "own-volume", "emptyDir": {}}],
    }
    template = {"metadata": {"annotations": {"candescent-proxy/config": "a: b"}}, "spec": own}
    spec: Object = {"template": template}
    workload = {
        "apiVersion": "batch/v1" if kind.endswith("Job") else "apps/v1",
        "kind": kind,
        "metadata": {"name": "own", "labels": {"candescent-proxy": "sidecar"}},
        "spec": {"jobTemplate": {"spec": spec}} if kind == "CronJob" else spec,
    }
    path = tmp_path / "kustomize/example/application.yaml"
    path.write_text(yaml.safe_dump(workload), encoding="utf-8")
    pod = pod_of(only(kustomize(path.parent), kind)).spec
    assert [each["name"] for each in pod["initContainers"]] == ["candescent-proxy", "own-init"]
    assert [each["name"] for each in pod["containers"]] == ["own"]
    volumes = {each["name"] for each in pod["volumes"]}
    assert volumes == {"own-volume", "candescent-config", "candescent-secrets"}


def test_component_ignores_other_workloads(tmp_path: Path) -> None:
    """Those without the label."""
    shutil.copytree(DEPLOY / "kustomize", tmp_path / "kustomize")
    path = tmp_path / "kustomize/example/application.yaml"
    text = path.read_text(encoding="utf-8").replace("candescent-proxy: sidecar", "other: label")
    path.write_text(text, encoding="utf-8")
    assert kustomize(path.parent) == objects(text)
