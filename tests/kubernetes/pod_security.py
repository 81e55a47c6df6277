"""The restricted Pod Security Standard of Kubernetes."""

from collections.abc import Iterator, Mapping
from typing import Any

VOLUMES = frozenset(
    {
        *("configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim"),
        *("projected", "secret"),
    }
)
SECCOMP = frozenset({"RuntimeDefault", "Localhost"})
SELINUX = frozenset({"container_t", "container_init_t", "container_kvm_t", "container_engine_t"})
SYSCTLS = frozenset(
    {
        *("kernel.shm_rmid_forced", "net.ipv4.ip_local_port_range", "net.ipv4.tcp_syncookies"),
        *("net.ipv4.ping_group_range", "net.ipv4.ip_unprivileged_port_start"),
        *("net.ipv4.ip_local_reserved_ports", "net.ipv4.tcp_keepalive_time"),
        *("net.ipv4.tcp_fin_timeout", "net.ipv4.tcp_keepalive_intvl"),
        *("net.ipv4.tcp_keepalive_probes", "net.ipv4.tcp_rmem", "net.ipv4.tcp_wmem"),
    }
)
"""What may be set without harm to others on the node."""
PROBES = ("startupProbe", "livenessProbe", "readinessProbe")


def violations(pod: Mapping[str, Any]) -> list[str]:
    """Return the violations of a pod's ``spec``."""
    found = [*_of_pod(pod)]
    for kind in ("initContainers", "containers", "ephemeralContainers"):
        for container in pod.get(kind) or ():
            found += [f"{container['name']}: {text}" for text in _of_container(container, pod)]
    return found


def _of_pod(pod: Mapping[str, Any]) -> Iterator[str]:
    context = pod.get("securityContext") or {}
    for setting in ("hostNetwork", "hostPID", "hostIPC"):
        if pod.get(setting):
            yield f"{setting} is set"
    for volume in pod.get("volumes") or ():
        for kind in volume.keys() - {"name"} - VOLUMES:
            yield f"volume {volume['name']} is a {kind}"
    for sysctl in context.get("sysctls") or ():
        if sysctl["name"] not in SYSCTLS:
            yield f"sysctl {sysctl['name']} is set"
    if context.get("runAsUser") == 0:
        yield "runAsUser is 0"
    yield from _of_any(context)


def _of_container(container: Mapping[str, Any], pod: Mapping[str, Any]) -> Iterator[str]:
    above, own = pod.get("securityContext") or {}, container.get("securityContext") or {}
    yield from _of_rights(own)
    if not own.get("runAsNonRoot", above.get("runAsNonRoot")):
        yield "runAsNonRoot is not true"
    if own.get("runAsUser") == 0:
        yield "runAsUser is 0"
    if (own.get("seccompProfile") or above.get("seccompProfile") or {}).get("type") not in SECCOMP:
        yield "no seccomp profile"
    if own.get("procMount", "Default") != "Default":
        yield "procMount is not the default"
    if any(port.get("hostPort") for port in container.get("ports") or ()):
        yield "a port of the host is taken"
    if any(_names_host(container.get(name)) for name in ("lifecycle", *PROBES)):
        yield "a probe or hook goes to a host of its choice"
    yield from _of_any(own)


def _of_rights(own: Mapping[str, Any]) -> Iterator[str]:
    capabilities = own.get("capabilities") or {}
    if own.get("privileged"):
        yield "privileged"
    if own.get("allowPrivilegeEscalation") is not False:
        yield "allowPrivilegeEscalation is not false"
    if "ALL" not in (capabilities.get("drop") or ()):
        yield "not all capabilities are dropped"
    if extra := set(capabilities.get("add") or ()) - {"NET_BIND_SERVICE"}:
        yield f"capabilities are added: {', '.join(sorted(extra))}"


def _names_host(part: Any) -> bool:
    return isinstance(part, Mapping) and (
        "host" in part or any(_names_host(inner) for inner in part.values())
    )


def _of_any(context: Mapping[str, Any]) -> Iterator[str]:
    if (context.get("windowsOptions") or {}).get("hostProcess"):
        yield "hostProcess is set"
    if (context.get("seccompProfile") or {}).get("type", "RuntimeDefault") not in SECCOMP:
        yield "seccomp is off"
    if (context.get("appArmorProfile") or {}).get("type", "RuntimeDefault") == "Unconfined":
        yield "AppArmor is off"
    options = context.get("seLinuxOptions") or {}
    if (
        options.get("user")
        or options.get("role")
        or options.get("type", "container_t") not in SELINUX
    ):
        yield "SELinux options are set"
