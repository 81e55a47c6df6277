"""The sidecar library, used by the example charts."""

from pathlib import Path
from typing import Any

import pytest

from tests.kubernetes.commands import LIBRARY, OLDEST, Object, helm, only, render
from tests.kubernetes.pods import Secrets, pod_of
from tests.kubernetes.program import InstalledProgram
from tests.kubernetes.rules import broken
from tests.kubernetes.variants import SIDECAR as VARIANTS

KINDS = {"legacy-deployment": "Deployment", "cronjob": "CronJob"}
VAULT = {"vault": {"id": b"sandbox-client", "secret": b"sandbox-secret"}}


def rendered(examples: Path, values: dict[str, Any], example: str = "legacy-deployment") -> Object:
    """Return the workload of an example, with values for its sidecar."""
    objects = render(examples / example, {LIBRARY.name: values}, kube=OLDEST)
    return only(objects, KINDS[example])


@pytest.fixture(params=KINDS)
def example(request: pytest.FixtureRequest) -> str:
    """One example."""
    return str(request.param)


@pytest.mark.parametrize("variant", VARIANTS)
def test_pods_are_valid_and_restricted(examples: Path, example: str, variant: str) -> None:
    """By Kubernetes' schemas and Pod Security Standard."""
    assert broken([rendered(examples, VARIANTS[variant], example)]) == []


@pytest.mark.parametrize("variant", VARIANTS)
def test_program_accepts_the_configuration(
    examples: Path, secrets: Secrets, tmp_path: Path, variant: str
) -> None:
    """Arguments, environment and files of the container."""
    pod = pod_of(rendered(examples, VARIANTS[variant]), [], {**secrets, **VAULT})
    done = InstalledProgram(pod, tmp_path).check()
    assert done.returncode == 0, done.stderr


def test_native_sidecar_is_an_init_container(examples: Path, example: str) -> None:
    """The first, with a startup probe for the token."""
    (sidecar,) = pod_of(rendered(examples, {}, example)).spec["initContainers"]
    assert sidecar["restartPolicy"] == "Always"
    assert sidecar["startupProbe"]["httpGet"]["path"] == "/readyz"


def test_plain_sidecar_is_the_first_container(examples: Path, example: str) -> None:
    """Its postStart hook waits for the token."""
    spec = pod_of(rendered(examples, VARIANTS["plain"], example)).spec
    assert not spec["initContainers"]
    command = spec["containers"][0]["lifecycle"]["postStart"]["exec"]["command"]
    assert command == ["candescent-proxy", "wait", "--timeout", "300"]


@pytest.mark.parametrize("variant", VARIANTS)
def test_sidecar_listens_on_loopback_only(examples: Path, variant: str) -> None:
    """With any values."""
    pod = pod_of(rendered(examples, VARIANTS[variant]))
    annotation = pod.template["metadata"]["annotations"]["candescent-proxy/config"]
    assert "\nlisten: 127.0.0.1:" in annotation
    assert all(port["containerPort"] != 8080 for port in pod.container().get("ports", ()))


def test_only_the_sidecar_mounts_the_credentials(examples: Path, example: str) -> None:
    """No other container does."""
    spec = pod_of(rendered(examples, {}, example)).spec
    mounting = [each["name"] for each in spec["containers"] if each.get("volumeMounts")]
    assert mounting == []


def test_values_of_a_workload_override(examples: Path, tmp_path: Path) -> None:
    """Those under the library's name."""
    values = {LIBRARY.name: {}, "second": {"port": 8181, "admin": {"port": 9191}}}
    call = 'include "candescent-proxy-sidecar.url" (dict "root" . "values" .Values.second)'
    chart = tmp_path / "two"
    (chart / "templates").mkdir(parents=True)
    (chart / "charts").symlink_to(examples / "cronjob/charts")
    plain = (examples / "cronjob/Chart.yaml").read_text(encoding="utf-8")
    (chart / "Chart.yaml").write_text(plain, encoding="utf-8")
    both = f"kind: ConfigMap\nmetadata: {{name: two}}\ndata: {{second: {{{{ {call} | quote }}}}}}\n"
    (chart / "templates/two.yaml").write_text(f"apiVersion: v1\n{both}", encoding="utf-8")
    least = {"bank": {"environment": "stage", "institutionId": "1"}}
    values[LIBRARY.name] = {**least, "credentials": {"existingSecret": "candescent"}}
    assert only(render(chart, values), "ConfigMap")["data"] == {"second": "http://127.0.0.1:8181"}


def test_charts_lint_and_package(examples: Path, example: str, tmp_path: Path) -> None:
    """Library and users, with --strict."""
    helm("lint", "--strict", LIBRARY)
    helm("lint", "--strict", examples / example)
    helm("package", LIBRARY, "--destination", tmp_path)
    helm("package", examples / example, "--destination", tmp_path)
    assert len(list(tmp_path.glob("*.tgz"))) == 2
