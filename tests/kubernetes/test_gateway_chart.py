"""The gateway chart, rendered with every value, and run."""

import asyncio
import http.client
import json
import socket
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import yaml

from proxy.cli import admin_client
from proxy.sandbox import Sandbox
from proxy.server.address import Address
from tests.kubernetes.commands import GATEWAY, ROOT, Object, helm, only, render
from tests.kubernetes.merging import merged
from tests.kubernetes.pods import Secrets, pod_of
from tests.kubernetes.program import InstalledProgram
from tests.kubernetes.rules import broken
from tests.kubernetes.variants import GATEWAY as VARIANTS
from tests.kubernetes.variants import LEAST, OPERATOR
from tests.support.running import DEADLINE

EXAMPLES = sorted((ROOT / "helm/examples").glob("*.yaml"))


def rendered(values: dict[str, Any]) -> list[Object]:
    """Return the objects of the minimal values with changes."""
    return render(GATEWAY, merged(LEAST, values), *OPERATOR)


@pytest.fixture(params=VARIANTS)
def variant(request: pytest.FixtureRequest) -> list[Object]:
    """The objects of one variant."""
    return rendered(VARIANTS[request.param])


def test_objects_are_valid_and_restricted(variant: list[Object]) -> None:
    """By Kubernetes' schemas and Pod Security Standard."""
    assert broken(variant) == []


def test_program_accepts_the_configuration(
    variant: list[Object], secrets: Secrets, tmp_path: Path
) -> None:
    """Arguments, environment and files of the container."""
    vault = {"vault": {"id": b"sandbox-client", "secret": b"sandbox-secret"}}
    pod = pod_of(only(variant, "Deployment"), variant, {**secrets, **vault})
    done = InstalledProgram(pod, tmp_path).check()
    assert done.returncode == 0, done.stderr


def test_selectors_match_the_pods(variant: list[Object]) -> None:
    """With labels that never change."""
    deployment = only(variant, "Deployment")
    labels = deployment["spec"]["template"]["metadata"]["labels"].items()
    selectors = [deployment["spec"]["selector"]["matchLabels"]]
    for each in variant:
        match each["kind"]:
            case "Service":
                selectors.append(each["spec"]["selector"])
            case "NetworkPolicy":
                selectors.append(each["spec"]["podSelector"]["matchLabels"])
            case "PodDisruptionBudget" | "PodMonitor":
                selectors.append(each["spec"]["selector"]["matchLabels"])
    assert all(selector.items() <= labels for selector in selectors)
    assert all(set(selector) == set(selectors[0]) for selector in selectors)


def test_named_ports_exist(variant: list[Object]) -> None:
    """Every port that another object names."""
    (container, *_) = only(variant, "Deployment")["spec"]["template"]["spec"]["containers"]
    ports = {port["name"] for port in container["ports"]}
    named = [
        port.get("targetPort")
        for each in variant
        if each["kind"] == "Service"
        for port in each["spec"]["ports"]
    ]
    assert set(named) <= ports


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_examples_are_valid(example: Path, secrets: Secrets, tmp_path: Path) -> None:
    """The files in helm/examples, without other values."""
    objects = render(GATEWAY, yaml.safe_load(example.read_text(encoding="utf-8")))
    assert broken(objects) == []
    done = InstalledProgram(pod_of(only(objects, "Deployment"), objects, secrets), tmp_path).check()
    assert done.returncode == 0, done.stderr


async def test_program_starts_as_rendered(secrets: Secrets, tmp_path: Path) -> None:
    """It gets a token and ends with 0 on SIGTERM."""
    port, admin = free_port(), free_port()
    async with Sandbox() as bank:
        values = {
            "bank": {"environment": "", "baseUrl": bank.url},
            "port": port,
            "admin": {"port": admin},
            "drainDelay": 0,
        }
        objects = rendered(values)
        pod = pod_of(only(objects, "Deployment"), objects, secrets)
        process = InstalledProgram(pod, tmp_path).start()
        try:
            await asyncio.to_thread(wait_ready, admin)
            assert await asyncio.to_thread(status, port) == 200
        finally:
            process.terminate()
            _, log = await asyncio.to_thread(process.communicate)
        assert process.returncode == 0, log


def free_port() -> int:
    """Return a free port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def wait_ready(admin: int) -> None:
    """Wait for the proxy with this admin port."""
    is_ready, said = admin_client.wait(Address(host="127.0.0.1", port=admin), DEADLINE)
    assert is_ready, said


def status(port: int) -> int:
    """Return the status of a request through the proxy."""
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE)) as connection:
        connection.request("GET", "/v1/accounts?hostUserId=880017")
        return connection.getresponse().status


def test_credentials_are_in_the_secret_only() -> None:
    """Not in the ConfigMap."""
    objects = rendered(VARIANTS["created secret"])
    assert only(objects, "Secret")["data"] == {
        "client-id": "YW4taWQ=",
        "client-secret": "YS1zZWNyZXQ=",
    }
    assert "a-secret" not in yaml.safe_dump([each for each in objects if each["kind"] != "Secret"])


def test_service_account_has_no_token() -> None:
    """Neither in the account nor in the pod."""
    objects = rendered({})
    assert only(objects, "ServiceAccount")["automountServiceAccountToken"] is False
    pod = only(objects, "Deployment")["spec"]["template"]["spec"]
    assert pod["automountServiceAccountToken"] is False


def test_configuration_changes_restart_pods() -> None:
    """Changed credentials do not."""

    def template(values: dict[str, Any]) -> Object:
        return dict(only(rendered(values), "Deployment")["spec"]["template"])

    created = VARIANTS["created secret"]
    rotated = merged(created, {"credentials": {"create": {"clientSecret": "another"}}})
    assert template({}) != template({"config": {"log": {"level": "debug"}}})
    assert template(created) == template(rotated)


def test_grace_period_of_the_pod_is_sufficient() -> None:
    """It exceeds drain delay and grace period."""
    pod = only(rendered({"drainDelay": 7, "gracePeriod": 33}), "Deployment")["spec"]["template"]
    assert pod["spec"]["terminationGracePeriodSeconds"] == 45


@pytest.mark.parametrize(
    ("bank", "port"),
    [
        ({}, 443),
        ({"environment": "", "baseUrl": "https://bank.test:8443/x"}, 8443),
        ({"environment": "", "baseUrl": "http://bank.test/x"}, 80),
        ({"environment": "", "baseUrl": "https://[2001:db8::1]/x"}, 443),
    ],
)
def test_network_policy_permits_the_bank(bank: dict[str, str], port: int) -> None:
    """DNS, and the port of the bank's URL."""
    policy = only(rendered({"bank": bank}), "NetworkPolicy")
    ports = [[each["port"] for each in rule["ports"]] for rule in policy["spec"]["egress"]]
    assert ports == [[53, 53], [port]]


def test_network_policy_permits_the_addresses_of_institutions() -> None:
    """The port of each, once."""
    own = {"00017": {"existingSecret": "seventeen"}, "00018": {"existingSecret": "eighteen"}}
    addresses = {
        "00017": {"base_url": "https://other.test:9443/x"},
        "00018": {"environment": "stage"},
    }
    values = {"institutions": own, "config": {"institutions": addresses}}
    policy = only(rendered(values), "NetworkPolicy")
    ports = [[each["port"] for each in rule["ports"]] for rule in policy["spec"]["egress"]]
    assert ports == [[53, 53], [443, 9443]]


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://redis", [6379]),
        ("valkeys://redis.cache:6380/2", [6380]),
        ("redis+cluster://a:7000,b:7001,c", [7000, 7001, 6379]),
        ("redis+sentinel://a,b:26380/fleet", [6379, 26379, 26380]),
    ],
)
def test_network_policy_permits_the_store(url: str, expected: list[int]) -> None:
    """The ports of its URL, to the configured peers."""
    peers = [{"podSelector": {"matchLabels": {"app": "redis"}}}]
    store = {"url": url, "existingSecret": "candescent-store"}
    values = {"store": store, "networkPolicy": {"store": peers}}
    *_, rule = only(rendered(values), "NetworkPolicy")["spec"]["egress"]
    assert [each["port"] for each in rule["ports"]] == expected
    assert rule["to"] == peers


def test_autoscaled_deployment_has_no_replicas() -> None:
    """Helm must not override the autoscaler."""
    assert "replicas" not in only(rendered(VARIANTS["autoscaled"]), "Deployment")["spec"]


def test_service_monitor_selects_the_admin_service() -> None:
    """Not the Service of the data port."""
    objects = rendered(VARIANTS["ServiceMonitor"])
    selector = only(objects, "ServiceMonitor")["spec"]["selector"]["matchLabels"].items()
    services = [each for each in objects if each["kind"] == "Service"]
    matching = [each for each in services if selector <= each["metadata"]["labels"].items()]
    assert [port["name"] for port in matching[0]["spec"]["ports"]] == ["admin"]
    assert len(matching) == 1


def notes(values: dict[str, Any]) -> str:
    """Return the notes of an installation with these values."""
    given = json.dumps(merged(LEAST, values))
    flags = ("--dry-run=client", "--values", "-")
    return helm("install", "app", GATEWAY, *flags, given=given).partition("NOTES:\n")[2]


def test_notes_have_the_url_and_warnings() -> None:
    """Scheme and port as configured; insecure values by name."""
    assert "http://app-candescent-proxy.default.svc:80/v1/accounts" in notes({})
    tls = notes({**VARIANTS["mutual TLS"], "service": {"port": 443}})
    assert "https://app-candescent-proxy.default.svc:443/v1/accounts" in tls
    assert "acts with your credentials" not in tls
    assert "every client that reaches the port acts with your credentials" in notes({})
    assert "values, which Helm stores in the cluster" in notes(VARIANTS["created secret"])
    assert "With one pod, callers wait" in notes(
        {"replicas": 1, "podDisruptionBudget": {"enabled": False}}
    )


def test_chart_lints_and_packages(tmp_path: Path) -> None:
    """With --strict; the package renders the same."""
    values = tmp_path / "values.yaml"
    values.write_text(yaml.safe_dump(LEAST), encoding="utf-8")
    helm("lint", "--strict", GATEWAY, "--values", values)
    helm("package", GATEWAY, "--destination", tmp_path)
    (package,) = tmp_path.glob("candescent-proxy-*.tgz")
    assert render(package, LEAST) == render(GATEWAY, LEAST)
