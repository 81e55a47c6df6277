"""Fleet components built from the configuration, and their imports."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from proxy.config import loader
from proxy.config.model import Config
from proxy.errors import ConfigError
from proxy.runtime.build_fleet import Fleet, check_files, lease_policy, record_namer
from proxy.tokens.refresh_policy import RefreshPolicy
from proxy.tokens.token import TokenKey, TokenKind
from tests.support.certificates import OpensslAuthority
from tests.support.program import ROOT
from tests.support.running import CLIENT
from tests.tokens.fleet.encryption_keys import write_key
from tests.tokens.harness import FakeTokenSource, SimulatedClock

V2 = TokenKey(TokenKind.V2, "00016")


def config(folder: Path, rest: dict[str, Any] | None = None, **store: Any) -> Config:
    """Return a configuration with these store settings and ``rest``."""
    keys = str(write_key(folder / "keys"))
    flags = {
        "environment": "stage",
        "institution_id": "00016",
        "store": {"url": "rediss://store", "encryption_key_file": keys, **store},
        **CLIENT,
        **(rest or {}),
    }
    return loader.load(None, {}, flags)


def test_wait_is_the_token_timeout(tmp_path: Path) -> None:
    """The wait for another proxy and the own call take ``token.timeout`` together."""
    policy = lease_policy(config(tmp_path, {"token": {"timeout": "20"}}, lease="2", follow="7"))
    assert (policy.max_wait, policy.lease, policy.poll_every) == (20, 2, 7)


def test_many_institutions_shorten_the_spread(tmp_path: Path) -> None:
    """A proxy of few institutions spreads its calls as widely as allowed."""
    many = ",".join(f"{number:05}" for number in range(1000))
    few, all_of_them = config(tmp_path), config(tmp_path, {"allowed_institutions": many})
    assert lease_policy(few).spread == 60
    assert lease_policy(all_of_them).spread == 5


def test_names_of_shared_tokens(tmp_path: Path) -> None:
    """Only tokens of an application are shared, and V1 tokens of a login by code."""
    written = config(
        tmp_path,
        {
            "institutions": {
                "00017": {"username": "fern", "password": "moss"},
                "00018": {"grant": "authorization_code"},
            },
            "refresh_token_file": str(tmp_path / "login"),
        },
    )
    name_for = record_namer(written, loader.logins(written))
    shared = {
        f"{kind}:{institution}"
        for kind in TokenKind
        for institution in ("00016", "00017", "00018")
        if name_for(TokenKey(kind, institution)) is not None
    }
    assert shared == {"v1:00016", "v2:00016", "v1:00018"}
    assert name_for(V2) is name_for(V2)


def test_unusable_files_are_configuration_errors(tmp_path: Path) -> None:
    """They are found before connecting, and their content is not quoted."""
    (tmp_path / "bad").write_text("moss-of-the-file\nand more\n")
    bad, none = str(tmp_path / "bad"), str(tmp_path / "none")
    for name, file, reported in (
        ("encryption_key_file", bad, "line 1 is not an id"),
        ("encryption_key_file", none, "cannot be read"),
        ("password_file", bad, "has more than one line"),
        ("sentinel_password_file", none, "cannot be read"),
        ("ca_file", bad, "CA certificates"),
        ("certificate_file", bad, "a certificate"),
    ):
        with pytest.raises(ConfigError, match=reported) as caught:
            check_files(config(tmp_path, None, **{name: file}))
        assert caught.value.errors[0].startswith(f"store.{name}: ")
        assert "moss" not in str(caught.value)


async def test_fleet_is_built_without_a_connection(tmp_path: Path) -> None:
    """Certificates and passwords are read; the store is used until it fails."""
    authority = OpensslAuthority.make(tmp_path)
    leaf = authority.issue("proxy")
    (tmp_path / "password").write_text("moss\n")
    written = config(
        tmp_path,
        ca_file=str(authority.file),
        certificate_file=str(leaf),
        password_file=str(tmp_path / "password"),
        sentinel_password_file=str(tmp_path / "password"),
    )
    fleet = Fleet(written, loader.logins(written), RefreshPolicy(), print)
    assert fleet.is_available
    assert fleet.share(FakeTokenSource(SimulatedClock())).shares(V2)
    await fleet.close()


def test_nothing_is_imported_without_a_store() -> None:
    """Neither redis nor cryptography, which cost memory and start time."""
    code = (
        "import sys, proxy.runtime.app, proxy.telemetry.metrics, proxy.telemetry.logs;"
        "print(*sorted({'redis', 'cryptography'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout.strip() == ""
