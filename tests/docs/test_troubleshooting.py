"""docs/troubleshooting.md: each error has its entry, under the last word of its ``type``."""

import json
import re
from pathlib import Path

import pytest

from proxy.errors import TYPE_PREFIX
from proxy.sandbox import Sandbox
from tests.docs.test_candescent import named_in_source
from tests.support.raw_client import ask, request
from tests.support.running import running

PAGE = (Path(__file__).parents[2] / "docs/troubleshooting.md").read_text(encoding="utf-8")
ENTRIES = dict(re.findall(r"^### ([a-z-]+)\n(.*?)(?=^##|\Z)", PAGE, re.MULTILINE | re.DOTALL))


def test_every_error_has_its_entry() -> None:
    """Whoever has an error's ``type`` finds it here, and what is here can happen."""
    assert set(ENTRIES) == named_in_source()
    assert len(ENTRIES) == PAGE.count("\n### ")


@pytest.mark.parametrize("name", ENTRIES)
def test_entry_is_whole(name: str) -> None:
    """What is seen, what it comes from, what to do: each once, in this order."""
    assert re.findall(r"^\*\*(\w+):\*\* \S", ENTRIES[name], re.MULTILINE) == [
        *("Symptom", "Cause", "Cure")
    ]


async def test_example_is_an_error_of_the_program() -> None:
    """The body that is shown is the one that a caller reads when the secret is wrong."""
    (shown,) = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    document = json.loads(shown)
    sent = request("GET", "/v1/accounts", f"transactionId: {document['transactionId']}")
    async with Sandbox() as bank, running(bank, ready=False, client_secret="another") as app:
        assert (await ask(app, sent)).json() == document
    assert document["type"].removeprefix(TYPE_PREFIX) in ENTRIES
