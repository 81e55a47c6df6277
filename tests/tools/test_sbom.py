"""The bill of materials, compared with the lock file."""

import json
import subprocess
import sys
from pathlib import Path

from tests.docs.test_dependencies import pins

ROOT = Path(__file__).parents[2]


def test_every_pinned_package_is_listed_once(tmp_path: Path) -> None:
    """With version and hashes."""
    sbom = tmp_path / "sbom.json"
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    recipe = makefile.partition("\nsbom:")[2].partition("\n\n")[0]
    command = recipe.partition("\n")[2].replace("\t", "").replace("@", "")
    command = command.replace("$(BIN)", str(Path(sys.executable).parent))
    command = command.replace("dist/candescent-proxy.cdx.json", str(sbom))
    subprocess.run(["/bin/sh", "-ec", command], cwd=ROOT, check=True, capture_output=True)
    document = json.loads(sbom.read_text(encoding="utf-8"))
    assert document["bomFormat"] == "CycloneDX"
    assert document["metadata"]["component"]["name"] == "candescent-proxy"
    listed = {part["name"]: part["version"] for part in document["components"]}
    assert listed == pins(ROOT / "requirements" / "run.txt")
    assert all(part["externalReferences"][0]["hashes"] for part in document["components"])
