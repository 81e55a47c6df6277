"""Results of checks."""

import pytest

from proxy.cli.doctor import remedies
from proxy.cli.doctor.results import Level, has_failed, info, ok, problem, skipped


def test_problem_has_its_remedy() -> None:
    """Text and remedy contain the evidence."""
    finding = problem("files", remedies.SECRET_MISSING, setting="client_id_file", file="/a/b")
    assert finding.level is Level.FAILED
    assert finding.text == "client_id_file: /a/b does not exist."
    assert "client_id_file" in finding.fix
    assert finding.is_problem


def test_warning_is_no_failure() -> None:
    """The proxy can work."""
    finding = problem("clock", remedies.CLOCK, seconds=90, direction="behind")
    assert finding.level is Level.WARNING
    assert not has_failed([finding, ok("a", "b"), info("a", "b"), skipped("a", "b")])
    assert has_failed([finding, problem("tls", remedies.PLAIN_TLS, host="h", port=1)])


def test_ok_needs_no_remedy() -> None:
    """Nor does a note or a skipped check."""
    assert not any(made("check", "text").is_problem for made in (ok, info, skipped))


def test_missing_evidence_is_an_error() -> None:
    """A placeholder is never printed."""
    with pytest.raises(KeyError):
        problem("files", remedies.SECRET_MISSING, setting="client_id_file")
