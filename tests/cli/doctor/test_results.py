"""Findings: what they are made of, and what counts as a failure."""

import pytest

from proxy.cli.doctor import remedies
from proxy.cli.doctor.results import Level, has_failed, note, ok, problem, skipped


def test_ill_has_its_remedy_filled_in() -> None:
    """Text and cure come from the table, with what was seen in them."""
    finding = problem("files", remedies.SECRET_MISSING, setting="client_id_file", file="/a/b")
    assert finding.level is Level.FAILED
    assert finding.text == "client_id_file: /a/b does not exist."
    assert "client_id_file" in finding.fix
    assert finding.is_problem


def test_warning_is_no_failure() -> None:
    """The proxy works with what is only worth a look."""
    finding = problem("clock", remedies.CLOCK, seconds=90, direction="behind")
    assert finding.level is Level.WARNING
    assert not has_failed([finding, ok("a", "b"), note("a", "b"), skipped("a", "b")])
    assert has_failed([finding, problem("tls", remedies.PLAIN_TLS, host="h", port=1)])


def test_well_needs_no_cure() -> None:
    """Nor does a note, nor what was not looked at."""
    assert not any(made("check", "text").is_problem for made in (ok, note, skipped))


def test_value_that_a_remedy_needs_is_not_forgotten() -> None:
    """A hole in a sentence is a mistake of ours, and not shown to anybody."""
    with pytest.raises(KeyError):
        problem("files", remedies.SECRET_MISSING, setting="client_id_file")
