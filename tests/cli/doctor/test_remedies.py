"""The table of causes and cures: its names and its sentences."""

import re
import string

import pytest

from proxy.cli.doctor.remedies import REMEDIES


@pytest.mark.parametrize("cause", REMEDIES)
def test_names_and_sentences(cause: str) -> None:
    """A name is of small letters; text and cure are there, and end as sentences or commands do."""
    remedy = REMEDIES[cause]
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", cause)
    assert remedy.text.endswith((".", "}"))
    assert remedy.cure


@pytest.mark.parametrize("cause", REMEDIES)
def test_cure_mentions_only_what_was_seen(cause: str) -> None:
    """A cure's names are names that a check can fill in, none of them of a secret."""
    remedy = REMEDIES[cause]
    fields = {
        name
        for text in (remedy.text, remedy.cure)
        for _, name, _, _ in string.Formatter().parse(text)
    }
    assert not fields & {"secret", "token", "password", "client_id", "client_secret"}
