"""What commands share: where the settings of a command come from."""

import argparse
from pathlib import Path

import pytest

from proxy.cli.commands import common
from proxy.errors import ConfigError
from proxy.server.address import Address


def given(*words: str) -> argparse.Namespace:
    """Return the arguments of a command that has the settings' flags."""
    parser = argparse.ArgumentParser()
    common.add_settings(parser)
    return parser.parse_args(words)


def test_flags_are_nested_as_in_the_file() -> None:
    """A flag of a section is put where the file has it; what is not given is not there."""
    arguments = given("--log-level", "debug", "--base-url", "http://127.0.0.1:9")
    assert common.flags(arguments) == {
        "log": {"level": "debug"},
        "base_url": "http://127.0.0.1:9",
    }


def test_file_is_named_by_flag_or_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    """The flag goes before the variable; without both there is none."""
    monkeypatch.delenv("CANDESCENT_CONFIG", raising=False)
    assert common.config_file(given()) is None
    monkeypatch.setenv("CANDESCENT_CONFIG", "a.yaml")
    assert common.config_file(given()) == Path("a.yaml")
    assert common.config_file(given("--config", "b.yaml")) == Path("b.yaml")


def test_admin_address_needs_no_good_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A probe reads one setting, from the nearest place; one for everybody is reached here."""
    monkeypatch.delenv("CANDESCENT_ADMIN", raising=False)
    file = tmp_path / "proxy.yaml"
    file.write_text("admin: 0.0.0.0:91\nlisen: and so on\n")
    assert common.admin_address(given("--config", str(file))) == Address(host="127.0.0.1", port=91)
    monkeypatch.setenv("CANDESCENT_ADMIN", "[::]:92")
    assert common.admin_address(given("--config", str(file))) == Address(host="::1", port=92)
    assert str(common.admin_address(given("--admin", "unix:/run/admin"))) == "unix:/run/admin"
    with pytest.raises(ConfigError, match="admin: expected HOST:PORT"):
        common.admin_address(given("--admin", "nowhere"))
