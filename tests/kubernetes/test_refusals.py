"""Invalid values of the charts, and helm's errors."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.kubernetes.commands import GATEWAY, LIBRARY, refusal, render
from tests.kubernetes.merging import merged
from tests.kubernetes.variants import LEAST, OPERATOR

NO_LOGIN: dict[str, Any] = {"credentials": {"existingSecret": ""}}
TWICE = {"credentials": {"files": {"clientId": "/a", "clientSecret": "/b"}}}
MONITORED = {"metrics": {"podMonitor": {"enabled": True}}}
READ: dict[str, Any] = {"networkPolicy": {"scrapers": [{"podSelector": {}}]}}

GATEWAY_REFUSES = {
    "no credentials": (NO_LOGIN, "credentials.existingSecret: there are no credentials; name a"),
    "two sources": (
        TWICE,
        "credentials: the same secret has two sources, existingSecret and files",
    ),
    "half a login": (
        merged(NO_LOGIN, {"credentials": {"create": {"clientId": "a"}}}),
        "credentials.create: set both clientId and clientSecret",
    ),
    "a secret twice for an institution": (
        {
            "institutions": {"00017": {"existingSecret": "other"}},
            "config": {"institutions": {"00017": {"client_secret_file": "/elsewhere"}}},
        },
        "config.institutions.00017.client_secret_file: the same secret has two sources",
    ),
    "a secret in the environment too": (
        {"extraEnv": [{"name": "CANDESCENT_CLIENT_SECRET", "value": "x"}]},
        "extraEnv: CANDESCENT_CLIENT_SECRET is a second source of a secret",
    ),
    "a secret in the configuration": (
        {"config": {"client_secret": "x"}},
        "config.client_secret: a secret must not be in the configuration",
    ),
    "the default institution twice": (
        {"institutions": {"00016": {"existingSecret": "other"}}},
        "institutions.00016: is bank.institutionId; its credentials go into credentials",
    ),
    "no bank": (
        {"bank": {"environment": ""}},
        "bank.environment: set it to stage or production, or set bank.baseUrl",
    ),
    "two banks": (
        {"bank": {"baseUrl": "https://bank.test"}},
        "bank.environment: set either bank.environment or bank.baseUrl, not both",
    ),
    "no institution": (
        {"bank": {"institutionId": ""}},
        'bank.institutionId: set it, in quotes, such as "00016"',
    ),
    "open to everybody": (
        {"callers": {"trustNetwork": False}},
        "callers: every client that reaches the port would act with your credentials; set",
    ),
    "TLS that asks for no name": (
        {
            "callers": {
                "trustNetwork": False,
                "tls": {"existingSecret": "a", "clientCertificates": False},
            }
        },
        "callers: every client that reaches the port would act with your credentials",
    ),
    "names without certificates": (
        {"callers": {"tls": {"clientNames": ["a"]}}},
        "callers.tls.clientNames: needs client certificates",
    ),
    "admin actions for everybody": (
        {
            "callers": {"trustNetwork": False, "secrets": {"existingSecret": "a"}},
            "config": {"admin_actions": True},
        },
        "config.admin_actions: every client that reaches the admin port could stop the gateway",
    ),
    "what the chart writes": (
        {"config": {"listen": "0.0.0.0:1"}},
        "config.listen: set port instead",
    ),
    "what the chart writes, in the environment": (
        {"extraEnv": [{"name": "CANDESCENT_LISTEN", "value": "0.0.0.0:1"}]},
        "extraEnv: CANDESCENT_LISTEN would override port; set that instead",
    ),
    "one port for both": ({"admin": {"port": 8080}}, "admin.port: is the same as port"),
    "killed too early": (
        {"terminationGracePeriodSeconds": 30},
        "terminationGracePeriodSeconds: 30 is less than drainDelay and gracePeriod need",
    ),
    "a budget of none": (
        {"podDisruptionBudget": {"maxUnavailable": 0}},
        "podDisruptionBudget.maxUnavailable: 0 would block every drain of a node",
    ),
    "a store without a key": (
        {"store": {"url": "redis://redis"}},
        "store.existingSecret: name a Secret whose key encryption-key holds the encryption keys",
    ),
    "a store's Secret without a store": (
        {"store": {"existingSecret": "candescent-store"}},
        "store.url: set it, or remove store.existingSecret",
    ),
    "a store by the back door": (
        {"config": {"store": {"url": "redis://redis"}}},
        "config.store.url: set it under store instead",
    ),
    "a budget of no percent": (
        {"podDisruptionBudget": {"maxUnavailable": "0%"}},
        "podDisruptionBudget.maxUnavailable: 0% would block every drain of a node",
    ),
    "a budget of all": (
        {"podDisruptionBudget": {"minAvailable": 2, "maxUnavailable": None}},
        "podDisruptionBudget.minAvailable: 2 with replicas 2 would block every drain of a node",
    ),
    "a budget of nearly all": (
        {
            "podDisruptionBudget": {"minAvailable": "80%", "maxUnavailable": None},
            "autoscaling": {"enabled": True, "minReplicas": 4},
        },
        "podDisruptionBudget.minAvailable: 80% with autoscaling.minReplicas 4 would block every",
    ),
    "two budgets": (
        {"podDisruptionBudget": {"minAvailable": 1}},
        "podDisruptionBudget: set either minAvailable or maxUnavailable",
    ),
    "no budget": (
        {"podDisruptionBudget": {"maxUnavailable": None}},
        "podDisruptionBudget: set minAvailable or maxUnavailable, or enabled: false",
    ),
    "fewest above most": (
        {"autoscaling": {"enabled": True, "minReplicas": 20}},
        "autoscaling.minReplicas: 20 is more than maxReplicas, 10",
    ),
    "a share of nothing": (
        {"autoscaling": {"enabled": True}, "resources": {"requests": {"cpu": None}}},
        "autoscaling.enabled: needs a CPU request; set resources",
    ),
    "a cluster without monitors": (
        merged(MONITORED, READ),
        "metrics.podMonitor.enabled: the cluster has no PodMonitor; install the Prometheus",
    ),
    "a cluster without rules": (
        {"metrics": {"rules": {"enabled": True}}},
        "metrics.rules.enabled: the cluster has no PrometheusRule; install the Prometheus",
    ),
}

WITH_OPERATOR_REFUSES = {
    "monitors that read twice": (
        merged(MONITORED, READ, {"metrics": {"serviceMonitor": {"enabled": True}}}),
        "metrics: every pod would be scraped twice; enable serviceMonitor or podMonitor",
    ),
    "a monitor that is kept out": (
        MONITORED,
        "networkPolicy.scrapers: Prometheus could not reach the admin port; set its peers",
    ),
}

SCHEMA_REFUSES = {
    "an unknown value": ({"replica": 3}, "additional properties 'replica' not allowed"),
    "a misspelt one below": ({"bank": {"enviroment": "x"}}, "additional properties 'enviroment'"),
    "an unknown setting": ({"config": {"upstrem": {}}}, "at '/config': additional properties"),
    "a wrong setting": ({"config": {"log": {"level": "loud"}}}, "'/config/log/level': value must"),
    "an institution that lost its zeros": ({"bank": {"institutionId": 16}}, "got number, want"),
    "a tag for a digest": ({"image": {"digest": "latest"}}, "'/image/digest': 'latest' does not"),
    "a word for a number": ({"replicas": "two"}, "at '/replicas': got string, want integer"),
}

SIDECAR_REFUSES = {
    "no credentials": (NO_LOGIN, "credentials.existingSecret: there are no credentials"),
    "two sources": (TWICE, "credentials: the same secret has two sources"),
    "no institution": ({"bank": {"institutionId": ""}}, "bank.institutionId: set it, in quotes"),
    "another address": (
        {"config": {"listen": "0.0.0.0:8080"}},
        "config.listen: set port instead",
    ),
    "an unknown value": ({"probe": {}}, "additional properties 'probe' not allowed"),
    "to quit what ends by itself": ({"quit": True}, "quit: a native sidecar ends with the Job"),
    "to be ended by anybody": (
        {"quit": True, "native": False},
        "quit: every client that reaches the admin port could end the sidecar; set admin.exposed",
    ),
    "annotations for nobody": (
        {"scrapeAnnotations": True, "admin": {"exposed": False}},
        "scrapeAnnotations: Prometheus could not reach the port; set admin.exposed: true",
    ),
    "actions by the back door": ({"config": {"admin_actions": True}}, "set quit instead"),
}


@pytest.mark.parametrize(("values", "message"), GATEWAY_REFUSES.values(), ids=GATEWAY_REFUSES)
def test_gateway_refuses(values: dict[str, Any], message: str) -> None:
    """The error names value, mistake and remedy."""
    assert f"\n  - {message}" in refusal(GATEWAY, merged(LEAST, values))


@pytest.mark.parametrize(
    ("values", "message"), WITH_OPERATOR_REFUSES.values(), ids=WITH_OPERATOR_REFUSES
)
def test_gateway_refuses_with_the_operator(values: dict[str, Any], message: str) -> None:
    """Monitors that could not work."""
    assert f"\n  - {message}" in refusal(GATEWAY, merged(LEAST, values), *OPERATOR)


@pytest.mark.parametrize(("values", "message"), SCHEMA_REFUSES.values(), ids=SCHEMA_REFUSES)
def test_schema_refuses(values: dict[str, Any], message: str) -> None:
    """Before rendering; settings of the program included."""
    assert message in refusal(GATEWAY, merged(LEAST, values))


@pytest.mark.parametrize(("values", "message"), SIDECAR_REFUSES.values(), ids=SIDECAR_REFUSES)
def test_sidecar_refuses(examples: Path, values: dict[str, Any], message: str) -> None:
    """The library's errors are the same."""
    assert message in refusal(examples / "legacy-deployment", {LIBRARY.name: values})


def test_all_errors_are_reported_at_once() -> None:
    """In one run."""
    said = refusal(GATEWAY, {"podDisruptionBudget": {"maxUnavailable": 0}})
    for setting in ("bank.environment", "bank.institutionId", "credentials", "callers", "podDis"):
        assert f"\n  - {setting}" in said


def test_old_cluster_without_native_sidecars(examples: Path) -> None:
    """An init container would block the pod."""
    chart = examples / "legacy-deployment"
    assert "native: Kubernetes v1.28.0 has no native sidecars; set native: false" in refusal(
        chart, {}, kube="1.28"
    )
    assert render(chart, {LIBRARY.name: {"native": False}}, kube="1.28")


def test_library_under_an_alias_is_refused(examples: Path, tmp_path: Path) -> None:
    """Its templates would not find their values."""
    chart = tmp_path / "chart"
    shutil.copytree(examples / "cronjob", chart)
    about = (chart / "Chart.yaml").read_text(encoding="utf-8")
    (chart / "Chart.yaml").write_text(f"{about}    alias: other\n", encoding="utf-8")
    said = refusal(chart, {})
    assert "candescent-proxy-sidecar must be a dependency of this chart, without an alias" in said


@pytest.mark.parametrize("name", ["rules", "dashboard"])
def test_missing_file_of_the_chart_is_an_error(name: str, tmp_path: Path) -> None:
    """Instead of an empty object."""
    chart = tmp_path / "chart"
    shutil.copytree(GATEWAY, chart, ignore=shutil.ignore_patterns("files"))
    values = merged(LEAST, {"metrics": {name: {"enabled": True}}})
    assert f"metrics.{name}.enabled: this chart has no files/" in refusal(chart, values, *OPERATOR)
