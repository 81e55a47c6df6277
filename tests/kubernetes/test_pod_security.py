"""The checker of the restricted Pod Security Standard."""

import copy
from typing import Any

import pytest

from tests.kubernetes.pod_security import violations

GOOD: dict[str, Any] = {
    "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
    "volumes": [{"name": "files", "projected": {}}],
    "containers": [
        {
            "name": "main",
            "ports": [{"containerPort": 1}],
            "securityContext": {
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]},
            },
        }
    ],
}

CONTAINER = ("containers", 0)
CONTEXT = (*CONTAINER, "securityContext")

FORBIDDEN = {
    "hostNetwork is set": (("hostNetwork",), True),
    "hostPID is set": (("hostPID",), True),
    "hostIPC is set": (("hostIPC",), True),
    "volume host is a hostPath": (("volumes", 0), {"name": "host", "hostPath": {"path": "/"}}),
    "sysctl kernel.msgmax is set": (
        ("securityContext", "sysctls"),
        [{"name": "kernel.msgmax", "value": "1"}],
    ),
    "runAsUser is 0": (("securityContext", "runAsUser"), 0),
    "hostProcess is set": (("securityContext", "windowsOptions"), {"hostProcess": True}),
    "AppArmor is off": (("securityContext", "appArmorProfile"), {"type": "Unconfined"}),
    "SELinux options are set": (("securityContext", "seLinuxOptions"), {"user": "system_u"}),
    "main: privileged": ((*CONTEXT, "privileged"), True),
    "main: allowPrivilegeEscalation is not false": ((*CONTEXT, "allowPrivilegeEscalation"), None),
    "main: not all capabilities are dropped": ((*CONTEXT, "capabilities", "drop"), ["CHOWN"]),
    "main: capabilities are added: SYS_ADMIN": ((*CONTEXT, "capabilities", "add"), ["SYS_ADMIN"]),
    "main: runAsNonRoot is not true": ((*CONTEXT, "runAsNonRoot"), False),
    "main: runAsUser is 0": ((*CONTEXT, "runAsUser"), 0),
    "main: no seccomp profile": ((*CONTEXT, "seccompProfile"), {"type": "Unconfined"}),
    "main: procMount is not the default": ((*CONTEXT, "procMount"), "Unmasked"),
    "main: a port of the host is taken": ((*CONTAINER, "ports", 0, "hostPort"), 80),
    "main: a probe or hook goes to a host of its choice": (
        (*CONTAINER, "lifecycle"),
        {"preStop": {"httpGet": {"host": "169.254.169.254", "port": 80}}},
    ),
}


def changed(path: tuple[str | int, ...], value: object) -> dict[str, Any]:
    """Return the valid pod with one change."""
    pod = copy.deepcopy(GOOD)
    at: Any = pod
    for step in path[:-1]:
        at = at[step]
    at[path[-1]] = value
    return pod


def test_valid_pod_has_no_violations() -> None:
    """A pod that conforms."""
    assert violations(GOOD) == []


@pytest.mark.parametrize(("path", "value"), FORBIDDEN.values(), ids=FORBIDDEN)
def test_violation_is_named(
    path: tuple[str | int, ...], value: object, request: pytest.FixtureRequest
) -> None:
    """For each rule."""
    expected = request.node.callspec.id
    assert expected in violations(changed(path, value))


@pytest.mark.parametrize("kind", ["initContainers", "ephemeralContainers"])
def test_every_kind_of_container_is_checked(kind: str) -> None:
    """Init and ephemeral ones too."""
    assert "late: runAsUser is 0" in violations(
        GOOD | {kind: [{"name": "late", "securityContext": {"runAsUser": 0}}]}
    )
