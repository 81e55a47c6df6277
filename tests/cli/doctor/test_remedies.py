"""The table of causes and remedies."""

import re
import string

import pytest

from proxy.cli.doctor.remedies import BY_KIND, REMEDIES
from proxy.errors import Source, kinds


@pytest.mark.parametrize("cause", REMEDIES)
def test_names_and_sentences(cause: str) -> None:
    """Names are lower case, and texts end as sentences or commands."""
    remedy = REMEDIES[cause]
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", cause)
    assert remedy.text.endswith((".", "}"))
    assert remedy.fix


@pytest.mark.parametrize("cause", REMEDIES)
def test_placeholders_are_evidence(cause: str) -> None:
    """A check can fill them, and none is a secret."""
    remedy = REMEDIES[cause]
    fields = {
        name
        for text in (remedy.text, remedy.fix)
        for _, name, _, _ in string.Formatter().parse(text)
    }
    assert not fields & {"secret", "token", "password", "client_id", "client_secret"}


def test_cause_of_request_errors() -> None:
    """It has the name and remedy of its error kind."""
    for kind, remedy in BY_KIND.items():
        assert (remedy.name, remedy.fix) == (kind.name, kind.remedy)


def test_every_connection_failure_has_a_cause() -> None:
    """The doctor explains each."""
    exchange = {
        kinds.UPSTREAM_CROSS_TALK,
        kinds.UPSTREAM_IDLE_TIMEOUT,
        kinds.UPSTREAM_TOTAL_TIMEOUT,
        kinds.UPSTREAM_TRUNCATED,
    }
    failures = {kind for kind in kinds.KINDS if kind.source is Source.UPSTREAM}
    assert failures - BY_KIND.keys() == exchange
