"""Advice: something to do for every error that the program can tell of."""

import ast
from collections.abc import Iterator

import pytest

from proxy.admin.advice import advice_for
from proxy.errors import TokenError, TokenFailure, UpstreamError, UpstreamFailure
from tools.repository import ROOT

GENERAL = {advice_for("unheard-of"), advice_for("unheard-of", "caller")}


def names_in_source() -> Iterator[tuple[str, str]]:
    """Yield whose error it is and its name, for each that is made with a name written out."""
    for path in sorted((ROOT / "proxy").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name)):
                continue
            place = {"CallerError": 1, "ProxyError": 0}.get(node.func.id, -1)
            if 0 <= place < len(node.args):
                name = node.args[place]
                if isinstance(name, ast.Constant):
                    yield node.func.id, str(name.value)


def test_every_reason_without_a_token_has_advice() -> None:
    """Each of the token failures has advice of its own."""
    said = [advice_for(TokenError(reason, "").name) for reason in TokenFailure]
    assert not GENERAL.intersection(said)


def test_every_failure_of_an_exchange_has_advice() -> None:
    """Each of the upstream failures has advice of its own."""
    said = [advice_for(UpstreamError(reason, "").name) for reason in UpstreamFailure]
    assert not GENERAL.intersection(said)


def test_every_error_of_our_own_has_advice() -> None:
    """What only an operator can mend is not left to general words."""
    names = {name for kind, name in names_in_source() if kind == "ProxyError"}
    assert {"overloaded", "internal"} <= names
    assert {name for name in names if advice_for(name) in GENERAL} == set()


def test_callers_errors_are_for_the_application() -> None:
    """A caller's mistake has advice of its own, or is the application's to mend."""
    names = {name for kind, name in names_in_source() if kind == "CallerError"}
    assert {"institution", "bad-header"} <= names
    for name in names:
        assert advice_for(name, "caller") != advice_for("unheard-of")
    assert "application" in advice_for("bad-header", "caller")


@pytest.mark.parametrize("name", ["bank-answer", "token-refused", "reload"])
def test_what_is_no_error_of_a_request_has_advice(name: str) -> None:
    """So have the bank's own answers, refused tokens and refused configurations."""
    assert advice_for(name) not in GENERAL


def test_advice_is_sentences() -> None:
    """Each begins large and ends with a full stop, as a page shows it."""
    for reason in TokenFailure:
        said = advice_for(TokenError(reason, "").name)
        assert said[0].isupper()
        assert said.endswith(".")
