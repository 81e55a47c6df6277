"""Pods of the example charts, run as real containers."""

import threading
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.kubernetes.commands import GATEWAY, NEWEST, ROOT, only, render
from tests.kubernetes.kubelet import BANK, Node, until
from tests.kubernetes.merging import merged
from tests.kubernetes.pods import Pod, Secrets, pod_of
from tests.support.certificates import OpensslAuthority

EXAMPLES = ROOT / "helm/examples"
PROXY, ADMIN = "http://127.0.0.1:8080", "http://127.0.0.1:9090"
ACCOUNTS = "/v1/accounts?hostUserId=880017"

pytestmark = pytest.mark.machine_clock  # containers have it

SIDECAR = {"bank": {"environment": "", "baseUrl": BANK}}
PLAIN = {"native": False, "quit": True, "admin": {"exposed": False}}

CALL = f"""
import os, urllib.request
with urllib.request.urlopen(os.environ["BANK_URL"] + "{ACCOUNTS}") as answer:
    print(answer.status)
"""
QUIT = (
    'python3 -c "import urllib.request as r; '
    "r.urlopen(r.Request('http://127.0.0.1:9090/quitquitquit', method='POST'))\""
)
SLOW_TOKEN = ("--fault", '{"where": "token", "delay": 2, "times": 1}')


def job_pod(examples: Path, secrets: Secrets, sidecar: dict[str, Any], program: str) -> Pod:
    """Return the pod of the CronJob example, with a test program as its job."""
    values = {
        "command": ["python3", "-c", program],
        "quitCommand": QUIT,
        "candescent-proxy-sidecar": merged(SIDECAR, sidecar),
    }
    objects = render(examples / "cronjob", values, kube=NEWEST if not sidecar else "1.27")
    return pod_of(only(objects, "CronJob"), objects, secrets)


def test_native_sidecar_delays_the_job_and_ends(
    examples: Path, secrets: Secrets, node: Node
) -> None:
    """The job starts when there is a token; the pod ends after it."""
    node.start_bank(*SLOW_TOKEN)
    node.start(job_pod(examples, secrets, {}, CALL))
    assert node.finish() == {"job": 0, "candescent-proxy": 0}
    assert node.logs("job").strip() == "200"
    failed = node.events.index("candescent-proxy probe failed")
    first = node.events.index("candescent-proxy probe succeeded")
    assert failed < first < node.events.index("job started")
    assert node.events[-2:] == ["candescent-proxy told to end", "candescent-proxy ended"]


@pytest.mark.parametrize(("program", "code"), [(CALL, 0), ("raise SystemExit(3)", 3)])
def test_plain_sidecar_delays_the_job_and_ends(
    examples: Path, secrets: Secrets, node: Node, program: str, code: int
) -> None:
    """Whatever the job's exit code."""
    node.start_bank(*SLOW_TOKEN)
    node.start(job_pod(examples, secrets, PLAIN, program))
    assert node.finish() == {"job": code, "candescent-proxy": 0}
    assert node.events[:3] == [
        "candescent-proxy started",
        "candescent-proxy hook succeeded",
        "job started",
    ]
    assert "candescent-proxy told to end" not in node.events


def test_rotated_credentials_are_reloaded(examples: Path, secrets: Secrets, node: Node) -> None:
    """A sidecar with wrong credentials gets a token without a restart."""
    wrong = {"client-id": b"sandbox-client", "client-secret": b"a-mistake"}
    node.start_bank()
    pod = job_pod(examples, {"candescent": wrong}, {}, CALL)
    starting = threading.Thread(target=node.start, args=[pod])
    starting.start()
    try:
        until(lambda: "token refresh failed" in node.logs() if node.events else False)
        node.rotate("candescent-secrets", candescent=secrets["candescent"])
    finally:
        starting.join()
    assert node.finish() == {"job": 0, "candescent-proxy": 0}
    assert node.events.count("candescent-proxy started") == 1


def gateway_pod(secrets: Secrets, values: dict[str, Any]) -> Pod:
    """Return the gateway's pod, in front of the node's bank."""
    own = {
        "bank": {"baseUrl": BANK, "institutionId": "00016"},
        "credentials": {"existingSecret": "candescent"},
        "drainDelay": 1,
        "gracePeriod": 10,
    }
    objects = render(GATEWAY, merged(own, values))
    return pod_of(only(objects, "Deployment"), objects, secrets)


def test_gateway_with_the_rendered_security_context(secrets: Secrets, node: Node) -> None:
    """No capabilities, a read-only root, and seccomp."""
    node.start_bank()
    pod = gateway_pod(secrets, {"callers": {"trustNetwork": True}})
    node.start(pod)
    container = pod.container()
    for name in ("startupProbe", "livenessProbe", "readinessProbe"):
        until(lambda probe=container[name]: node.probe(container, probe))
    assert node.ask(f"{PROXY}{ACCOUNTS}")[0] == 200
    status = Path(f"/proc/{node.pid(node.container())}/status").read_text(encoding="ascii")
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert fields["Uid"].split() == ["65532"] * 4
    assert fields["Groups"].split() == ["65532"]
    assert int(fields["CapBnd"], 16) == int(fields["CapEff"], 16) == 0
    assert (fields["NoNewPrivs"], fields["Seccomp"]) == ("1", "2")
    assert node.stop() == 0


def test_gateway_finishes_requests_on_termination(secrets: Secrets, node: Node) -> None:
    """It is not ready, serves during the drain delay, and ends with 0."""
    node.start_bank("--fault", '{"where": "resource", "delay": 4, "times": 1}')
    node.start(gateway_pod(secrets, {"callers": {"trustNetwork": True}}))
    until(lambda: node.ask(f"{ADMIN}/readyz")[0] == 200)
    responses: list[int] = []
    caller = threading.Thread(target=lambda: responses.append(node.ask(f"{PROXY}{ACCOUNTS}")[0]))
    caller.start()
    until(lambda: "candescent_proxy_requests_in_flight 1.0" in node.ask(f"{ADMIN}/metrics")[1])
    assert node.stop() == 0
    caller.join()
    assert responses == [200]
    assert '"stopped"' in node.logs()


def test_gateway_authenticates_by_secret(secrets: Secrets, node: Node) -> None:
    """Two shared secrets are valid at once; others are not."""
    node.start_bank()
    callers = {"secrets": {"existingSecret": "candescent-callers", "keys": ["current", "next"]}}
    node.start(gateway_pod(secrets, {"callers": callers}))
    until(lambda: node.ask(f"{ADMIN}/readyz")[0] == 200)

    def status(secret: bytes) -> int:
        shown = {"Proxy-Authorization": f"Bearer {secret.decode()}"}
        return node.ask(f"{PROXY}{ACCOUNTS}", shown if secret else {})[0]

    good = secrets["candescent-callers"]
    assert [status(good["current"]), status(good["next"])] == [200, 200]
    assert status(b"") == status(b"d" * 40) == 403


def test_gateway_authenticates_by_certificate(
    secrets: Secrets, authority: OpensslAuthority, node: Node
) -> None:
    """Only the configured names of the authority."""
    node.start_bank()
    example = yaml.safe_load((EXAMPLES / "mutual-tls.yaml").read_text(encoding="utf-8"))
    node.start(gateway_pod(secrets, merged(example, {"bank": {"environment": ""}})))
    until(lambda: node.ask(f"{ADMIN}/readyz")[0] == 200)

    def status(name: str | None) -> int:
        shown = authority.issue(name, f"DNS:{name}", file=name) if name else None
        url = f"https://127.0.0.1:8080{ACCOUNTS}"
        return node.ask(url, authority=authority.file, certificate=shown)[0]

    assert status("payments.bank.svc") == 200
    assert status("strangers.bank.svc") == 403
    assert status(None) == 0
