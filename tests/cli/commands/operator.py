"""An operator's inputs: settings, an authorization code, and the refresh token file."""

import json
import stat
from pathlib import Path

from proxy.sandbox import Sandbox
from tests.support.running import CLIENT


def variables(bank: Sandbox, stored: Path | None = None) -> dict[str, str]:
    """Return the environment variables of a configuration."""
    found = {"BASE_URL": bank.url, "INSTITUTION_ID": "00016"}
    found |= {name.upper(): text for name, text in CLIENT.items()}
    if stored is not None:
        found |= {"GRANT": "authorization_code", "REFRESH_TOKEN_FILE": str(stored)}
    return {f"CANDESCENT_{name}": text for name, text in found.items()}


def code(bank: Sandbox, institution: str = "00016") -> bytes:
    """Return an authorization code as typed by a user."""
    return bank.bank.code_for("juniper.quill", institution=institution).encode() + b"\n"


def held(stored: Path) -> dict[str, dict[str, str]]:
    """Return the content of the refresh token file."""
    found: dict[str, dict[str, str]] = json.loads(stored.read_text())
    return found


def permissions(path: Path) -> int:
    """Return the permission bits of a file."""
    return stat.S_IMODE(path.stat().st_mode)
