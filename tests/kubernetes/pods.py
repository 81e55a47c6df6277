"""Pods of rendered workloads: template, containers, files of volumes."""

import base64
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.kubernetes.commands import Object

Files = dict[str, bytes]
Secrets = Mapping[str, Mapping[str, bytes]]

WORKLOADS = ("Deployment", "StatefulSet", "DaemonSet", "Job")


@dataclass
class Pod:
    """A pod's template, with the objects of its cluster."""

    template: Object
    secrets: dict[str, dict[str, bytes]] = field(default_factory=dict)
    config_maps: dict[str, dict[str, bytes]] = field(default_factory=dict)

    @property
    def spec(self) -> Object:
        """Its specification."""
        return dict(self.template["spec"])

    def container(self, name: str = "candescent-proxy") -> Object:
        """Return one of its containers, of any kind."""
        spec = self.spec
        everyone = [*(spec.get("initContainers") or ()), *spec["containers"]]
        (found,) = (each for each in everyone if each["name"] == name)
        return dict(found)

    def mounts(self, name: str = "candescent-proxy") -> dict[str, Files]:
        """Return the files in a container by mount path."""
        volumes = {volume["name"]: volume for volume in self.spec.get("volumes") or ()}
        return {
            mount["mountPath"]: self.files(volumes[mount["name"]])
            for mount in self.container(name).get("volumeMounts") or ()
        }

    def files(self, volume: Mapping[str, Any]) -> Files:
        """Return the files in a volume."""
        if "projected" in volume:
            parts = [self._source(source) for source in volume["projected"]["sources"]]
            return {path: content for part in parts for path, content in part.items()}
        return self._source({key: value for key, value in volume.items() if key != "name"})

    def _source(self, source: Mapping[str, Any]) -> Files:
        ((kind, settings),) = source.items()
        match kind:
            case "secret":
                name = settings.get("name") or settings["secretName"]
                return _chosen(self.secrets[name], settings.get("items"))
            case "configMap":
                return _chosen(self.config_maps[settings["name"]], settings.get("items"))
            case "downwardAPI":
                return {item["path"]: self._annotation(item) for item in settings["items"]}
            case "emptyDir":
                return {}
        raise NotImplementedError(kind)

    def _annotation(self, item: Mapping[str, Any]) -> bytes:
        path = item["fieldRef"]["fieldPath"]
        found = re.fullmatch(r"metadata\.annotations\['(.+)'\]", path)
        assert found, path
        return str(self.template["metadata"]["annotations"][found[1]]).encode()


def _chosen(data: Mapping[str, bytes], items: Sequence[Mapping[str, str]] | None) -> Files:
    if items is None:
        return dict(data)
    # A missing key prevents the start of a pod, so it fails the test.
    return {item["path"]: data[item["key"]] for item in items}


def pod_of(workload: Object, objects: Sequence[Object] = (), secrets: Secrets = {}) -> Pod:  # noqa: B006 - only read
    """Return the pod of a workload, in a cluster with these objects and secrets."""
    spec = workload["spec"]
    template = (
        spec["jobTemplate"]["spec"]["template"] if "jobTemplate" in spec else spec["template"]
    )
    return Pod(
        template,
        {name: dict(data) for name, data in secrets.items()} | dict(_data(objects, "Secret")),
        dict(_data(objects, "ConfigMap")),
    )


def _data(objects: Sequence[Object], kind: str) -> Iterator[tuple[str, dict[str, bytes]]]:
    for each in objects:
        if each["kind"] == kind:
            plain = {name: text.encode() for name, text in each.get("stringData", {}).items()}
            data = {
                name: base64.b64decode(text) if kind == "Secret" else text.encode()
                for name, text in each.get("data", {}).items()
            }
            yield each["metadata"]["name"], plain | data


def write(directory: Path, files: Files, mode: int = 0o444) -> None:
    """Write files into a directory atomically, as a kubelet does.

    Each is a link through ``..data``, which points to a directory that never changes.
    """
    directory.mkdir(parents=True, exist_ok=True)
    version = f"..{time.time_ns()}"
    for name, content in files.items():
        path = directory / version / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        path.chmod(mode)
        top = Path(name).parts[0]
        if not (directory / top).is_symlink():
            (directory / top).symlink_to(f"..data/{top}")
    fresh = directory / "..data_tmp"
    fresh.symlink_to(version)
    fresh.replace(directory / "..data")
