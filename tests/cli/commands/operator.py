"""What an operator has at hand: the bank's settings, a code, and what a login has left."""

import json
import stat
from pathlib import Path

from proxy.sandbox import Sandbox
from tests.support.running import CLIENT


def variables(bank: Sandbox, stored: Path | None = None) -> dict[str, str]:
    """Return what the commands are configured with."""
    found = {"BASE_URL": bank.url, "INSTITUTION_ID": "00016"}
    found |= {name.upper(): text for name, text in CLIENT.items()}
    if stored is not None:
        found |= {"GRANT": "authorization_code", "REFRESH_TOKEN_FILE": str(stored)}
    return {f"CANDESCENT_{name}": text for name, text in found.items()}


def code(bank: Sandbox, institution: str = "00016") -> bytes:
    """Return an authorization code, as a person pastes it."""
    return bank.bank.code_for("juniper.quill", institution=institution).encode() + b"\n"


def held(stored: Path) -> dict[str, dict[str, str]]:
    """Return what a login has left."""
    found: dict[str, dict[str, str]] = json.loads(stored.read_text())
    return found


def permissions(path: Path) -> int:
    """Return the permission bits of a file."""
    return stat.S_IMODE(path.stat().st_mode)
