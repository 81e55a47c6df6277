"""The list of cases."""

import pytest

from bench import __main__ as command
from bench.cases import CASES, FOOTPRINT_CASES
from bench.peers import PEERS


def test_cases_name_existing_proxies() -> None:
    """Ours is in each; names of results are unique."""
    assert all("ours" in one.peers and PEERS.keys() >= set(one.peers) for one in CASES.values())
    assert all(name == one.name for name, one in CASES.items())
    assert CASES.keys() >= set(FOOTPRINT_CASES)


def test_full_run_is_bounded() -> None:
    """Half an hour of measurements; two minutes for a quick run."""

    def seconds(*arguments: str) -> int:
        chosen = command.chosen(command.parser().parse_args(arguments))
        return sum(one.rounds * one.seconds * len(one.peers) for one in chosen)

    assert seconds() < 1800
    assert seconds("--quick") < 120


def test_unknown_names_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """With the known ones."""
    assert command.main(["--cases", "small,smal"]) == 1
    assert "smal: choose of small, tls" in capsys.readouterr().err
