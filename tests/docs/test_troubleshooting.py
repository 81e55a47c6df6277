"""docs/troubleshooting.md: an entry for each error, under the last word of its ``type``."""

import json
import re
from pathlib import Path

import pytest

from proxy.errors import TYPE_PREFIX, ErrorKind, kinds
from proxy.sandbox import Sandbox
from tests.support.raw_client import ask, request
from tests.support.running import running
from tools import errors_page

PAGE = errors_page.DOCUMENT.read_text(encoding="utf-8")


def test_page_has_the_errors_of_the_program() -> None:
    """`make errors` would change nothing."""
    assert errors_page.PLACE.read(PAGE).strip() == errors_page.entries()


@pytest.mark.parametrize("kind", kinds.KINDS, ids=lambda kind: kind.name)
def test_every_error_has_its_entry(kind: ErrorKind) -> None:
    """With cause and remedy."""
    (entry,) = re.findall(rf"(?ms)^### {kind.name}\n(.*?)(?=^##|^<!--)", PAGE)
    assert kind.cause in entry
    assert kind.remedy in entry
    assert (", connection closed." in entry) is kind.closes


def test_writing_and_printing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """``--write`` changes the text between the marks only."""
    page = tmp_path / "page.md"
    place = errors_page.PLACE
    page.write_text(f"before {place.opening} old {place.closing} after", encoding="utf-8")
    monkeypatch.setattr(errors_page, "DOCUMENT", page)
    assert errors_page.main(["--write"]) == 0
    assert errors_page.main([]) == 0
    text = page.read_text(encoding="utf-8")
    assert text.startswith("before ")
    assert text.endswith(" after")
    assert capsys.readouterr().out.strip() in text


async def test_example_is_an_error_of_the_program() -> None:
    """The body for a wrong secret."""
    (shown,) = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    document = json.loads(shown)
    sent = request("GET", "/v1/accounts", f"transactionId: {document['transactionId']}")
    async with Sandbox() as bank, running(bank, ready=False, client_secret="another") as app:
        assert (await ask(app, sent)).json() == document
    assert f"(#{document['type'].removeprefix(TYPE_PREFIX)})" in PAGE
