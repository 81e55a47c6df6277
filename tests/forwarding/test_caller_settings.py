"""Settings of callers' authentication."""

from pathlib import Path

from proxy.forwarding.caller_settings import CallerSettings

FILE = Path("/etc/proxy/some")


def test_files_lists_all_that_are_set() -> None:
    """A change of any of them is noticed."""
    settings = CallerSettings(
        secret_files=(FILE,), certificate_file=FILE / "c", key_file=FILE / "k"
    )
    assert set(settings.files()) == {FILE, FILE / "c", FILE / "k"}


def test_callers_are_authenticated_by_secret_or_certificate() -> None:
    """The port's own certificate does not authenticate callers."""
    assert CallerSettings(secret_files=(FILE,)).are_authenticated
    assert CallerSettings(client_ca_file=FILE).are_authenticated
    assert not CallerSettings(certificate_file=FILE).are_authenticated


def test_contradictory_settings_are_refused() -> None:
    """Each error begins with the setting to change."""
    settings = CallerSettings(client_names=("a",), key_file=FILE)
    assert list(settings.errors("callers.")) == [
        "callers.client_names: needs callers.client_ca_file",
        "callers.key_file: needs callers.certificate_file",
    ]
    (error,) = CallerSettings(client_ca_file=FILE).errors("callers.")
    assert error.startswith("callers.client_ca_file: needs callers.certificate_file")
