"""The table of causes and cures: its names and its sentences."""

import re
import string

import pytest

from proxy.cli.doctor.remedies import BY_KIND, REMEDIES
from proxy.errors import Source, kinds


@pytest.mark.parametrize("cause", REMEDIES)
def test_names_and_sentences(cause: str) -> None:
    """A name is of small letters; text and cure are there, and end as sentences or commands do."""
    remedy = REMEDIES[cause]
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", cause)
    assert remedy.text.endswith((".", "}"))
    assert remedy.fix


@pytest.mark.parametrize("cause", REMEDIES)
def test_cure_mentions_only_what_was_seen(cause: str) -> None:
    """A cure's names are names that a check can fill in, none of them of a secret."""
    remedy = REMEDIES[cause]
    fields = {
        name
        for text in (remedy.text, remedy.fix)
        for _, name, _, _ in string.Formatter().parse(text)
    }
    assert not fields & {"secret", "token", "password", "client_id", "client_secret"}


def test_cause_that_requests_have_too() -> None:
    """It has the name and the remedy of its kind: a cause is explained once."""
    for kind, remedy in BY_KIND.items():
        assert (remedy.name, remedy.fix) == (kind.name, kind.remedy)


def test_every_failed_connection_has_a_cause() -> None:
    """Whatever a request may meet on its way, the doctor has a sentence for."""
    exchange = {kinds.UPSTREAM_IDLE_TIMEOUT, kinds.UPSTREAM_TOTAL_TIMEOUT, kinds.UPSTREAM_TRUNCATED}
    failures = {kind for kind in kinds.KINDS if kind.source is Source.UPSTREAM}
    assert failures - BY_KIND.keys() == exchange
