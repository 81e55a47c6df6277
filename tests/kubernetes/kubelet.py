"""A node for one pod: does with podman what a kubelet does.

Only what the charts need, as Kubernetes documents it: volumes that change atomically, security
contexts, the order of init containers, native sidecars and containers, ``postStart``, startup
probes, and the end of a Job's pod. The bank is a sandbox in the pod's network, which has no other
connection.
"""

import json
import re
import shutil
import sys
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.kubernetes.commands import output, podman, run
from tests.kubernetes.pods import Pod, write
from tests.support.running import DEADLINE

BANK = "http://127.0.0.1:8081"

# Raising the limits of a process needs rights that not every machine gives.
_LIMITS = ("--ulimit", "nofile=1024:1024", "--ulimit", "nproc=4096:4096")

_ASK = """
import json, ssl, sys, urllib.error, urllib.request
url, method, headers, authority, certificate = json.loads(sys.argv[1])
request = urllib.request.Request(url, method=method, headers=headers)
context = ssl.create_default_context(cafile=authority)
if certificate:
    context.load_cert_chain(certificate)
direct = urllib.request.build_opener(
    urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
)
try:
    with direct.open(request, timeout=120) as answer:
        print(json.dumps([answer.status, answer.read().decode()]))
except urllib.error.HTTPError as error:
    print(json.dumps([error.code, error.read().decode()]))
except OSError as error:
    print(json.dumps([0, str(error)]))
"""


@dataclass
class Node:
    """A machine with one pod. ``images`` maps rendered images to local ones."""

    directory: Path
    image: str
    images: dict[str, str] = field(default_factory=dict)
    events: list[str] = field(default_factory=list)
    name: str = field(default_factory=lambda: f"candescent-test-{uuid.uuid4().hex[:12]}")
    _pod: Pod | None = None

    # The machine.

    def start_bank(self, *arguments: str) -> None:
        """Start the bank, and with it the pod's network."""
        command = ("sandbox", "--listen", BANK.removeprefix("http://"), *arguments)
        flags = ("--network", "none", "--no-healthcheck", *_LIMITS)
        self._podman("run", "--detach", "--name", self.name, *flags, self.image, *command)
        until(lambda: self.ask(f"{BANK}/_sandbox/")[0])

    def clean(self) -> None:
        """Remove every container."""
        # All others are in the bank's network and are removed with it.
        output(*podman(), *("rm", "--force", "--depend", "--ignore", "--time", "0"), self.name)

    def ask(
        self,
        url: str,
        headers: Mapping[str, str] | None = None,
        *,
        method: str = "GET",
        authority: Path | None = None,
        certificate: Path | None = None,
    ) -> tuple[int, str]:
        """Send a request in the pod's network; return the status and the body.

        Without a response the status is 0 and the body is the reason.
        """
        what = [url, method, headers or {}, authority, certificate]
        inside = ("nsenter", f"--net=/proc/{self.pid(self.name)}/ns/net", "--")
        command = (*inside, sys.executable, "-c", _ASK, json.dumps(what, default=str))
        status, body = json.loads(output(*command))
        return status, body

    def pid(self, container: str) -> int:
        """Return the process id of a container's first process."""
        return int(self._podman("inspect", "--format", "{{.State.Pid}}", container))

    # The pod.

    def start(self, pod: Pod) -> None:
        """Start a pod's containers in order, each when Kubernetes would."""
        self._pod = pod
        for volume in pod.spec.get("volumes") or ():
            mode = next((part["defaultMode"] for part in volume.values() if _has_mode(part)), 0o644)
            write(self.directory / volume["name"], pod.files(volume), mode)
            self._own(self.directory / volume["name"])
        for container in pod.spec.get("initContainers") or ():
            assert container["restartPolicy"] == "Always", "no example has another kind"
            self._run(container)
            self._wait_started(container)
        for container in pod.spec["containers"]:
            self._run(container)

    def rotate(self, volume: str, **secrets: Mapping[str, bytes]) -> None:
        """Change the content of a Secret, in the running pod's volume."""
        assert self._pod is not None
        self._pod.secrets |= {name.replace("_", "-"): dict(data) for name, data in secrets.items()}
        spec = next(each for each in self._pod.spec["volumes"] if each["name"] == volume)
        write(self.directory / volume, self._pod.files(spec), 0o444)

    def finish(self, timeout: float = DEADLINE) -> dict[str, int]:
        """Wait until a Job's pod has ended; return the exit codes of its containers.

        It ends when all containers have ended; native sidecars do not count and are then stopped.
        """
        assert self._pod is not None
        codes = {
            container["name"]: self._code(container["name"], timeout)
            for container in self._pod.spec["containers"]
        }
        for container in reversed(self._pod.spec.get("initContainers") or ()):
            codes[container["name"]] = self.stop(container["name"])
        return codes

    def stop(self, container: str = "candescent-proxy") -> int:
        """Stop a container as Kubernetes does; return its exit code."""
        assert self._pod is not None
        grace = self._pod.spec.get("terminationGracePeriodSeconds", 30)
        self.events.append(f"{container} told to end")
        self._podman("stop", "--time", str(grace), self.container(container))
        return self._code(container, 5)

    def container(self, name: str = "candescent-proxy") -> str:
        """Return podman's name of a container of the pod."""
        return f"{self.name}-{name}"

    def logs(self, container: str = "candescent-proxy") -> str:
        """Return the output of a container, both streams."""
        done = run(*podman(), "logs", self.container(container))
        return done.stdout + done.stderr

    def _run(self, container: Mapping[str, Any]) -> None:
        assert self._pod is not None
        name = self.container(container["name"])
        image = self.images.get(container["image"], container["image"])
        flags = [*self._flags(container), *_mounts(container, self.directory)]
        command = container.get("command") or ()
        if command:
            flags += ["--entrypoint", json.dumps(command)]
        self._podman(
            *("run", "--detach", "--name", name, "--network", f"container:{self.name}"),
            *("--no-healthcheck", *_LIMITS, *flags, image, *(container.get("args") or ())),
        )
        self.events.append(f"{container['name']} started")
        hook = (container.get("lifecycle") or {}).get("postStart")
        if hook:
            self._podman("exec", name, *hook["exec"]["command"])
            self.events.append(f"{container['name']} hook succeeded")

    def _flags(self, container: Mapping[str, Any]) -> list[str]:
        assert self._pod is not None
        above = self._pod.spec.get("securityContext") or {}
        own = above | (container.get("securityContext") or {})
        flags = [f"--env={each['name']}={each['value']}" for each in container.get("env") or ()]
        if own.get("readOnlyRootFilesystem"):
            flags += ["--read-only", "--read-only-tmpfs=false"]
        if own.get("allowPrivilegeEscalation") is False:
            flags += ["--security-opt=no-new-privileges"]
        flags += [f"--cap-drop={name}" for name in own.get("capabilities", {}).get("drop", ())]
        if own.get("runAsUser") is not None:
            flags += [f"--user={own['runAsUser']}:{own.get('runAsGroup') or 0}"]
        if own.get("fsGroup") is not None:
            flags += [f"--group-add={own['fsGroup']}"]
        limit = (container.get("resources") or {}).get("limits", {}).get("memory")
        return [*flags, f"--memory={_bytes(limit)}"] if limit else flags

    def _own(self, directory: Path) -> None:
        assert self._pod is not None
        group = (self._pod.spec.get("securityContext") or {}).get("fsGroup")
        if group is not None:
            for path in directory.rglob("*"):
                shutil.chown(path, group=group)

    def _wait_started(self, container: Mapping[str, Any]) -> None:
        probe = container["startupProbe"]
        for _ in range(probe["failureThreshold"]):
            if self.probe(container, probe):
                self.events.append(f"{container['name']} probe succeeded")
                return
            self.events.append(f"{container['name']} probe failed")
            time.sleep(probe["periodSeconds"] / 5)
        raise AssertionError(f"never started:\n{self.logs(container['name'])}")

    def probe(self, container: Mapping[str, Any], probe: Mapping[str, Any]) -> bool:
        """Whether a probe succeeds now."""
        if "exec" in probe:
            command = probe["exec"]["command"]
            return (
                run(*podman(), "exec", self.container(container["name"]), *command).returncode == 0
            )
        port = probe["httpGet"]["port"]
        if isinstance(port, str):
            ports = {each["name"]: each["containerPort"] for each in container["ports"]}
            port = ports[port]
        return self.ask(f"http://127.0.0.1:{port}{probe['httpGet']['path']}")[0] == 200

    def _code(self, container: str, timeout: float) -> int:
        name = self.container(container)
        self._podman("wait", "--condition", "exited", name, timeout=timeout)
        self.events.append(f"{container} ended")
        return int(self._podman("inspect", "--format", "{{.State.ExitCode}}", name))

    def _podman(self, *arguments: str, timeout: float = DEADLINE) -> str:
        return output("timeout", timeout, *podman(), *arguments).strip()


def until(condition: Any, timeout: float = DEADLINE) -> None:
    """Wait until ``condition`` holds."""
    end = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


def _has_mode(part: object) -> bool:
    return isinstance(part, Mapping) and "defaultMode" in part


def _mounts(container: Mapping[str, Any], directory: Path) -> Sequence[str]:
    return [
        f"--volume={directory / mount['name']}:{mount['mountPath']}"
        + (":ro" if mount.get("readOnly") else "")
        for mount in container.get("volumeMounts") or ()
    ]


def _bytes(quantity: str) -> int:
    found = re.fullmatch(r"(\d+)([KMG])i", quantity)
    assert found, quantity
    return int(found[1]) << 10 * ("KMG".index(found[2]) + 1)
