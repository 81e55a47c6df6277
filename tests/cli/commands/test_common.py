"""Shared parts of commands: the sources of their settings."""

import argparse
from pathlib import Path

import pytest

from proxy.cli.commands import common
from proxy.errors import ConfigError
from proxy.server.address import Address


def given(*words: str) -> argparse.Namespace:
    """Return the arguments of a command with settings flags."""
    parser = argparse.ArgumentParser()
    common.add_settings(parser, *common.FLAGS)
    return parser.parse_args(words)


def test_flags_are_nested_as_in_the_file() -> None:
    """Flags that are not given are absent."""
    arguments = given("--log-level", "debug", "--base-url", "http://127.0.0.1:9")
    assert common.flags(arguments) == {
        "log": {"level": "debug"},
        "base_url": "http://127.0.0.1:9",
    }


def test_file_is_named_by_flag_or_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    """The flag has precedence."""
    monkeypatch.delenv("CANDESCENT_CONFIG", raising=False)
    assert common.config_file(given()) is None
    monkeypatch.setenv("CANDESCENT_CONFIG", "a.yaml")
    assert common.config_file(given()) == Path("a.yaml")
    assert common.config_file(given("--config", "b.yaml")) == Path("b.yaml")


def test_admin_address_needs_no_valid_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A probe reads one setting; a wildcard address becomes loopback."""
    monkeypatch.delenv("CANDESCENT_ADMIN", raising=False)
    file = tmp_path / "proxy.yaml"
    file.write_text("admin: 0.0.0.0:91\nlisen: and so on\n")
    assert common.admin_address(given("--config", str(file))) == Address(host="127.0.0.1", port=91)
    monkeypatch.setenv("CANDESCENT_ADMIN", "[::]:92")
    assert common.admin_address(given("--config", str(file))) == Address(host="::1", port=92)
    assert str(common.admin_address(given("--admin", "unix:/run/admin"))) == "unix:/run/admin"
    with pytest.raises(ConfigError, match="admin: expected HOST:PORT"):
        common.admin_address(given("--admin", "nowhere"))
