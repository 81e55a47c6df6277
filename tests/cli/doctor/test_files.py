"""Checks of single files; test_checks has whole set-ups."""

from pathlib import Path
from tempfile import NamedTemporaryFile

from hypothesis import given
from hypothesis import strategies as st

from proxy.cli.doctor import files
from proxy.cli.doctor.results import Level
from proxy.config import loader
from proxy.errors import ConfigError
from proxy.runtime import exposed_files
from proxy.tokens.secret_content import secret_problem
from proxy.tokens.secret_files import read_secret


@given(st.binary(max_size=40))
def test_doctor_and_proxy_agree(raw: bytes) -> None:
    """A secret is a problem if and only if the proxy refuses it."""
    content = secret_problem(raw)
    assert (content is not None and not content.is_doubt) == is_refused(raw)


def is_refused(raw: bytes) -> bool:
    """Whether the proxy refuses this secret."""
    with NamedTemporaryFile() as file:
        file.write(raw)
        file.flush()
        try:
            read_secret(Path(file.name), "setting")
        except ConfigError:
            return True
        return False


def test_mode_of_secret_files(tmp_path: Path) -> None:
    """The group may read, as with Kubernetes; others may not."""
    file = tmp_path / "secret"
    file.write_text("word")
    for mode, level in ((0o600, Level.OK), (0o440, Level.OK), (0o604, Level.WARNING)):
        file.chmod(mode)
        assert [finding.level for finding in files.secret_file("x", file)] == [level]


def test_every_secret_file_is_checked(tmp_path: Path) -> None:
    """Those of institutions, callers and the outbound proxy too."""
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
    found = {setting: str(file) for setting, file in exposed_files.secret_files(config)}
    assert found == {
        "client_id_file": "/a",
        "client_secret_file": "/b",
        "institutions.00017.client_id_file": "/c",
        "institutions.00017.client_secret_file": "/d",
        "upstream.proxy_password_file": "/p",
        "store.password_file": "/s",
        "callers.secret_files.0": "/e",
    }


def test_certificate_with_its_key_is_a_secret(tmp_path: Path) -> None:
    """A certificate alone is not."""
    file = tmp_path / "server.pem"
    file.write_text("-----BEGIN CERTIFICATE-----\n")
    file.chmod(0o644)
    assert list(files.key_file("callers.certificate_file", file)) == []
    file.write_text("-----BEGIN CERTIFICATE-----\n-----BEGIN PRIVATE KEY-----\n")
    (finding,) = files.key_file("callers.certificate_file", file)
    assert finding.cause == "secret-exposed"
    file.chmod(0o600)
    assert list(files.key_file("callers.certificate_file", file)) == []


def test_every_key_file_is_checked() -> None:
    """Of upstream, store, every listener, and the login."""
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
    assert [setting for setting, _ in exposed_files.key_files(config)] == [
        *("upstream.certificate_file", "upstream.key_file", "store.encryption_key_file"),
        *("callers.certificate_file", "callers.key_file"),
        *("listeners.other.callers.certificate_file", "listeners.other.callers.key_file"),
        "refresh_token_file",
    ]


def test_date_format() -> None:
    """It does not depend on the locale."""
    assert files.day(86_399) == "1970-01-01"
