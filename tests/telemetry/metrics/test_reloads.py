"""Changes: reloads and why they failed, rotated secrets, certificates."""

import pytest

from proxy.telemetry.events import Reloaded, ReloadFailed
from proxy.telemetry.metrics.reloads import ReloadCollector
from tests.telemetry.metrics.reading import families, value


def tally() -> ReloadCollector:
    """Return one that begins at a known time."""
    return ReloadCollector(lambda: 1_800_000_000.0)


def test_reloads_are_told() -> None:
    """Taken and refused ones are counted, and whether the last was taken can be alerted on."""
    changes = tally()
    assert value(changes, "last_reload_successful") == 1
    changes.add(ReloadFailed("file", "listen: changed."))
    assert value(changes, "last_reload_successful") == 0
    changes.add(Reloaded("file"))
    assert value(changes, "last_reload_successful") == 1
    assert value(changes, "reloads_total", result="failure") == 1
    assert value(changes, "reloads_total", result="success") == 1


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        (ReloadFailed("file", "listen: changed."), "configuration"),
        (ReloadFailed("file", "The bank refuses.", is_refused_by_bank=True), "token"),
        (ReloadFailed("file", "It failed.", ValueError()), "internal"),
    ],
)
def test_why_a_reload_failed(event: ReloadFailed, reason: str) -> None:
    """A mistake in it, a bank that gives no token with it, a mistake of ours."""
    changes = tally()
    changes.add(event)
    for each in ("configuration", "token", "internal"):
        assert value(changes, "reload_failures_total", reason=each) == (each == reason)


@pytest.mark.parametrize(
    ("event", "taken", "refused"),
    [
        (Reloaded("file", has_new_login=True), 1, 0),
        (Reloaded("file"), 0, 0),
        (ReloadFailed("file", "No.", is_refused_by_bank=True, has_new_login=True), 0, 1),
        (ReloadFailed("file", "listen: changed.", has_new_login=True), 0, 0),
        (ReloadFailed("file", "No.", is_refused_by_bank=True), 0, 0),
    ],
)
def test_rotations(event: Reloaded | ReloadFailed, taken: int, refused: int) -> None:
    """A rotation is a reload with another login; refused is one that the bank refused."""
    changes = tally()
    changes.add(event)
    assert value(changes, "secret_rotations_total", result="success") == taken
    assert value(changes, "secret_rotations_total", result="failure") == refused


def test_when_the_configuration_was_taken() -> None:
    """First when the proxy started, then when a changed one was taken, never when refused."""
    times = iter([100.0, 200.0])
    changes = ReloadCollector(lambda: next(times))
    changes.add(ReloadFailed("file", "listen: changed."))
    assert value(changes, "last_reload_success_timestamp_seconds") == 100
    changes.add(Reloaded("file"))
    assert value(changes, "last_reload_success_timestamp_seconds") == 200


def test_certificates_by_setting() -> None:
    """Each configured certificate has a series; what is replaced leaves none."""
    changes = tally()
    name = "certificate_expiry_timestamp_seconds"
    assert families(changes)[f"candescent_proxy_{name}"].samples == []
    changes.certificates = {"upstream.ca_file": 5.0}
    assert value(changes, name, setting="upstream.ca_file") == 5
    changes.certificates = {"callers.certificate_file": 7.0}
    assert value(changes, name, setting="upstream.ca_file") is None
    assert value(changes, name, setting="callers.certificate_file") == 7
