"""The files of a set-up, looked at one by one; whole set-ups are in test_examination."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.cli.doctor import files
from proxy.cli.doctor.results import Level
from proxy.config import loader
from proxy.errors import ConfigError
from proxy.tokens.secret_files import read_secret


@pytest.mark.parametrize(
    ("raw", "cause"),
    [
        (b"s3cret", ""),
        (b"s3cret\r\n", ""),
        (b"", "secret-empty"),
        (b"\r\n\n", "secret-empty"),
        (b"\xef\xbb\xbfs3cret", "secret-byte-order-mark"),
        ("s3cret".encode("utf-16-be"), "secret-not-ascii"),
        (b"one\ntwo", "secret-lines"),
        (b"one\r\rtwo", "secret-lines"),
        (b"t\xc3\xa4glich", "secret-not-ascii"),
        (b"a\0b", "secret-not-ascii"),
        (b" s3cret", "secret-wrapped"),
        (b"s3cret \n", "secret-wrapped"),
        (b"'s3cret'", "secret-wrapped"),
    ],
)
def test_content_of_a_secret_file(raw: bytes, cause: str) -> None:
    """Whatever an editor, a shell or a person leaves in it has its name."""
    assert [remedy.name for remedy, _ in files.secret_content(raw)] == ([cause] if cause else [])


@given(st.binary(max_size=40))
def test_what_the_proxy_refuses_is_named(raw: bytes) -> None:
    """No secret that would not be read is called well, and none that would be is called ill."""
    named = {remedy.name for remedy, _ in files.secret_content(raw)} - {"secret-wrapped"}
    assert bool(named) == is_refused(raw)


def is_refused(raw: bytes) -> bool:
    """Whether the proxy would not take this for a secret."""
    reading, writing = os.pipe()
    os.write(writing, raw)
    os.close(writing)
    try:
        read_secret(Path(f"/dev/fd/{reading}"), "setting")
    except ConfigError:
        return True
    finally:
        os.close(reading)
    return False


def test_mode_that_is_shared_with_nobody(tmp_path: Path) -> None:
    """The owner's group may read it, as Kubernetes mounts secrets; nobody else."""
    file = tmp_path / "secret"
    file.write_text("word")
    for mode, level in ((0o600, Level.OK), (0o440, Level.OK), (0o604, Level.WARNING)):
        file.chmod(mode)
        assert [finding.level for finding in files.secret_file("x", file)] == [level]


def test_every_secret_file_is_found(tmp_path: Path) -> None:
    """Those of institutions, of callers and of the way out too."""
    password = {"proxy": "http://127.0.0.1:1", "proxy_user": "me", "proxy_password_file": "/p"}
    own = {"client_id_file": "/c", "client_secret_file": "/d"}
    config = loader.load(
        None,
        {},
        {
            "base_url": "http://127.0.0.1:1",
            "institution_id": "00016",
            "client_id_file": "/a",
            "client_secret_file": "/b",
            "institutions": {"00017": own},
            "callers": {"secret_files": ["/e"]},
            "upstream": password,
            "store": {
                "url": "rediss://127.0.0.1",
                "encryption_key_file": "/k",
                "password_file": "/s",
            },
        },
    )
    found = {setting: str(file) for setting, file in files.secret_files(config)}
    assert found == {
        "client_id_file": "/a",
        "client_secret_file": "/b",
        "institutions.00017.client_id_file": "/c",
        "institutions.00017.client_secret_file": "/d",
        "upstream.proxy_password_file": "/p",
        "store.password_file": "/s",
        "callers.secret_files.0": "/e",
    }


def test_certificate_without_its_key_is_no_secret(tmp_path: Path) -> None:
    """Everybody may read a certificate; with its key in the same file, only the owner."""
    file = tmp_path / "server.pem"
    file.write_text("-----BEGIN CERTIFICATE-----\n")
    file.chmod(0o644)
    assert list(files.key_file("callers.certificate_file", file)) == []
    file.write_text("-----BEGIN CERTIFICATE-----\n-----BEGIN PRIVATE KEY-----\n")
    (finding,) = files.key_file("callers.certificate_file", file)
    assert finding.cause == "secret-exposed"
    file.chmod(0o600)
    assert list(files.key_file("callers.certificate_file", file)) == []


def test_every_key_file_is_found() -> None:
    """Those of the way out, of the store, of every listener, and the login's."""
    names = ("certificate_file", "key_file")
    pair = {name: f"/{name}" for name in names}
    config = loader.load(
        None,
        {},
        {
            "base_url": "https://127.0.0.1",
            "institution_id": "00016",
            "client_id": "x",
            "client_secret": "y",
            "refresh_token_file": "/r",
            "upstream": pair,
            "callers": pair,
            "store": {"url": "redis://127.0.0.1", "encryption_key_file": "/s"},
            "listeners": {"other": {"listen": "127.0.0.1:0", "callers": pair}},
        },
    )
    assert [setting for setting, _ in files.key_files(config)] == [
        *("upstream.certificate_file", "upstream.key_file", "store.encryption_key_file"),
        *("callers.certificate_file", "callers.key_file"),
        *("listeners.other.callers.certificate_file", "listeners.other.callers.key_file"),
        "refresh_token_file",
    ]


def test_day() -> None:
    """A day is written the same in every part of the world."""
    assert files.day(86_399) == "1970-01-01"
