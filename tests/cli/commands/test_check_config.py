"""``check-config``: valid and invalid configurations, and the schema."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from proxy.config.model import Config
from tests.cli.commands.inside import Inside
from tests.support.program import ANYWHERE, CREDENTIALS, run_program

STAGE = {**CREDENTIALS, "CANDESCENT_ENVIRONMENT": "stage"}
WITHOUT_SECRETS = {
    "CANDESCENT_INSTITUTION_ID": "00016",
    "CANDESCENT_BASE_URL": "http://127.0.0.1:9",
}


async def test_valid_configuration_is_reported(tmp_path: Path) -> None:
    """With its sources and the base URL."""
    file = tmp_path / "proxy.yaml"
    file.write_text("institution_id: 00016\nenvironment: production\nlisten: 127.0.0.1:81\n")
    secrets = {name: text for name, text in CREDENTIALS.items() if "CLIENT" in name}
    code, out, err = await run_program("check-config", CANDESCENT_CONFIG=str(file), **secrets)
    assert (code, err) == (0, "")
    assert "127.0.0.1:81 → https://api.candescent.com/digitalbanking" in out


def references(schema: Any) -> Iterator[str]:
    """Return every reference within a schema."""
    if isinstance(schema, dict):
        yield from (text for name, text in schema.items() if name == "$ref")
        for inner in schema.values():
            yield from references(inner)
    elif isinstance(schema, list):
        for inner in schema:
            yield from references(inner)


async def test_print_schema() -> None:
    """The schema is JSON, names every setting and has no dangling references."""
    code, out, err = await run_program("check-config", "--print-schema")
    schema = json.loads(out)
    assert (code, err, schema["type"]) == (0, "", "object")
    assert set(schema["properties"]) == set(Config.model_fields)
    assert "institution_id" in schema["required"]
    found = set(references(schema))
    assert found == {f"#/$defs/{name}" for name in schema["$defs"]} & found
    assert all(name.startswith("#/$defs/") for name in found)


async def test_unusable_secret_files_are_reported(inside: Inside, tmp_path: Path) -> None:
    """With setting, path and remedy."""
    missing, empty = tmp_path / "missing", tmp_path / "empty"
    empty.touch()
    code, out, err = await inside.both(
        **WITHOUT_SECRETS,
        CANDESCENT_CLIENT_ID_FILE=str(missing),
        CANDESCENT_CLIENT_SECRET_FILE=str(empty),
    )
    assert (code, out) == (2, "")
    assert err.splitlines() == [
        f"candescent-proxy: client_id_file: {missing} cannot be read (No such file or directory)",
        f"candescent-proxy: client_secret_file: {empty} is empty. Write the secret into it.",
    ]


async def test_unusable_ca_file_is_reported(inside: Inside, tmp_path: Path) -> None:
    """Before the first request."""
    file = tmp_path / "ca.pem"
    file.write_text("not a certificate\n")
    # Not an environment, for which run prints more.
    base_url = {"CANDESCENT_ENVIRONMENT": "", "CANDESCENT_BASE_URL": "https://bank.example"}
    variables = {**STAGE, **base_url, "CANDESCENT_UPSTREAM__CA_FILE": str(file)}
    code, _, err = await inside.both(*ANYWHERE, **variables)
    assert code == 2
    (line,) = err.splitlines()
    assert line.startswith("candescent-proxy: upstream.ca_file: ")


async def test_every_error_has_its_line(inside: Inside, tmp_path: Path) -> None:
    """File, environment and flags are all checked."""
    file = tmp_path / "proxy.yaml"
    file.write_text("grace_period: long\nlisen: x\n")
    code, out, err = await inside.both(
        "--config", file, "--log-level", "loud", **STAGE, CANDESCENT_BASE_ULR="x"
    )
    assert (code, out) == (2, "")
    lines = sorted(err.splitlines())
    assert [line.split(": ")[1] for line in lines] == [
        "CANDESCENT_BASE_ULR",
        "grace_period",
        "lisen",
        "log.level",
    ]
    assert "did you mean CANDESCENT_BASE_URL?" in lines[0]
