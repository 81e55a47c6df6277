"""The shell scripts of the image and of the chart tests, with fake programs."""

from pathlib import Path

from tests.tools.test_scripts import run, script

SYSTEM = "/usr/bin:/bin"


def test_image_is_built_by_a_working_engine(tmp_path: Path) -> None:
    """A client without its server is skipped."""
    script(tmp_path / "docker", "exit 1")
    script(tmp_path / "podman", 'echo "$BUILDAH_FORMAT" "$@"')
    done = run("image", "1.2.3", "--quiet", PATH=f"{tmp_path}:{SYSTEM}")
    assert done.stdout.startswith(
        "docker build --tag candescent-proxy:1.2.3 --tag candescent-proxy "
    )
    assert " --build-arg VERSION=1.2.3 " in done.stdout
    assert done.stdout.endswith(" --quiet .\n")


def test_missing_engine_is_an_error(tmp_path: Path) -> None:
    """With a message."""
    for engine in ("docker", "podman"):
        script(tmp_path / engine, "exit 1")
    done = run("image", "1.2.3", PATH=f"{tmp_path}:{SYSTEM}")
    assert done.returncode == 1
    assert "docker or podman" in done.stderr


def test_base_image_is_made_once(tmp_path: Path) -> None:
    """An existing one is kept."""
    script(tmp_path / "podman", '[ "$*" = "image exists base" ]')
    script(tmp_path / "mmdebstrap", "echo called")
    assert run("base-image", "base", PATH=f"{tmp_path}:{SYSTEM}").stdout == ""


def test_tools_are_built_once(tmp_path: Path) -> None:
    """Those of another version are built again."""
    script(tmp_path / "bin/actionlint", "")
    script(tmp_path / "bin/helm", "")
    script(tmp_path / "bin/kustomize", "")
    script(tmp_path / "bin/compose-spec", "")
    versions = "printf '\\tmod\\tpath\\t%s\\th1:x\\n' v4.3.1 v2.16.2"
    script(tmp_path / "go", f'if [ "$1" = version ]; then {versions}; else echo "$@"; fi')
    done = run("kubernetes-tools", PATH=f"{tmp_path}:{SYSTEM}", GOBIN=tmp_path / "bin")
    actionlint, kustomize = done.stdout.splitlines()
    assert actionlint.startswith("install github.com/rhysd/actionlint/")
    assert kustomize.startswith("install sigs.k8s.io/kustomize/")
