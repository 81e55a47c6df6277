"""The shell scripts behind the image and the tests of the charts, in a world made up for them."""

from pathlib import Path

from tests.tools.test_scripts import run, script

SYSTEM = "/usr/bin:/bin"


def test_image_is_built_by_whoever_answers(tmp_path: Path) -> None:
    """An engine that is only a client without its server is passed over."""
    script(tmp_path / "docker", "exit 1")
    script(tmp_path / "podman", 'echo "$BUILDAH_FORMAT" "$@"')
    done = run("image", "1.2.3", "--quiet", PATH=f"{tmp_path}:{SYSTEM}")
    assert done.stdout.startswith(
        "docker build --tag candescent-proxy:1.2.3 --tag candescent-proxy "
    )
    assert " --build-arg VERSION=1.2.3 " in done.stdout
    assert done.stdout.endswith(" --quiet .\n")


def test_image_says_that_nobody_answers(tmp_path: Path) -> None:
    """Without an engine it fails with a sentence."""
    for engine in ("docker", "podman"):
        script(tmp_path / engine, "exit 1")
    done = run("image", "1.2.3", PATH=f"{tmp_path}:{SYSTEM}")
    assert done.returncode == 1
    assert "docker or podman" in done.stderr


def test_base_image_is_made_once(tmp_path: Path) -> None:
    """If there is one, nothing is made."""
    script(tmp_path / "podman", '[ "$*" = "image exists base" ]')
    script(tmp_path / "mmdebstrap", "echo called")
    assert run("base-image", "base", PATH=f"{tmp_path}:{SYSTEM}").stdout == ""


def test_tools_that_are_there_are_not_built_again(tmp_path: Path) -> None:
    """A tool at another version is; one at the right version is not."""
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
