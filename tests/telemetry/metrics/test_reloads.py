"""Reloads, rotated secrets and certificates."""

import pytest

from proxy.telemetry.events import Reloaded, ReloadFailed
from proxy.telemetry.metrics.reloads import ReloadCollector
from tests.telemetry.metrics.reading import families, value


def collector() -> ReloadCollector:
    """Return a collector that starts at a known time."""
    return ReloadCollector(lambda: 1_800_000_000.0)


def test_reloads_are_counted() -> None:
    """By result, with the result of the last."""
    changes = collector()
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
def test_reason_of_a_failed_reload(event: ReloadFailed, reason: str) -> None:
    """Configuration error, no token, internal error."""
    changes = collector()
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
def test_rotations_are_counted(event: Reloaded | ReloadFailed, taken: int, refused: int) -> None:
    """A reload with other credentials, by result."""
    changes = collector()
    changes.add(event)
    assert value(changes, "secret_rotations_total", result="success") == taken
    assert value(changes, "secret_rotations_total", result="failure") == refused


def test_time_of_the_last_success() -> None:
    """The start, then each success."""
    times = iter([100.0, 200.0])
    changes = ReloadCollector(lambda: next(times))
    changes.add(ReloadFailed("file", "listen: changed."))
    assert value(changes, "last_reload_success_timestamp_seconds") == 100
    changes.add(Reloaded("file"))
    assert value(changes, "last_reload_success_timestamp_seconds") == 200


def test_certificates_by_setting() -> None:
    """Each has a series; replaced ones have none."""
    changes = collector()
    name = "certificate_expiry_timestamp_seconds"
    assert families(changes)[f"candescent_proxy_{name}"].samples == []
    changes.certificates = {"upstream.ca_file": 5.0}
    assert value(changes, name, setting="upstream.ca_file") == 5
    changes.certificates = {"callers.certificate_file": 7.0}
    assert value(changes, name, setting="upstream.ca_file") is None
    assert value(changes, name, setting="callers.certificate_file") == 7
