"""Answers to the questions of ``init``; test_init has whole dialogues."""

import argparse
from collections.abc import Mapping
from pathlib import Path

import pytest

from proxy.cli.commands import init, questions
from proxy.cli.commands.questions import SANDBOX, Questions
from proxy.cli.init_files import InitOptions
from proxy.errors import ConfigError
from proxy.sandbox import Settings

EVERYTHING = {
    "CANDESCENT_ENVIRONMENT": "stage",
    "CANDESCENT_CLIENT_ID": "key",
    "CANDESCENT_CLIENT_SECRET": "word",
    "CANDESCENT_INSTITUTION_ID": "00016",
}


def answers(*flags: str, environ: Mapping[str, str] = EVERYTHING) -> InitOptions:
    """Return the answers without a terminal."""
    parser = argparse.ArgumentParser()
    init.add_arguments(parser)
    return Questions(parser.parse_args(flags), environ, can_ask=False).answers()


def test_environment_alone() -> None:
    """The variables of the vendor's SDK suffice."""
    assert answers() == InitOptions("key", "word", "00016", environment="stage")


def test_flags_override_the_environment(tmp_path: Path) -> None:
    """A given flag counts."""
    (tmp_path / "key").write_text("another key\n")
    found = answers(
        *("--base-url", "http://127.0.0.1:9", "--institution", "00017", "--v1"),
        *("--client-id-file", str(tmp_path / "key"), "--listen", "127.0.0.1:81"),
    )
    assert (found.environment, found.base_url) == ("", "http://127.0.0.1:9")
    assert (found.client_id, found.institution, found.v1) == ("another key", "00017", True)
    assert (found.listen, found.admin) == ("127.0.0.1:81", "127.0.0.1:9090")


def test_all_missing_answers_are_reported_at_once() -> None:
    """In one run."""
    with pytest.raises(ConfigError) as caught:
        answers("--environment", "stage", environ={})
    assert [mistake.split(":")[0] for mistake in caught.value.errors] == [
        *("client_id", "client_secret", "institution_id")
    ]


def test_sandbox_answers_match_the_default_sandbox() -> None:
    """``candescent-proxy sandbox`` accepts them."""
    assert answers("--sandbox", environ={}) == SANDBOX
    bank = Settings()
    assert bank.clients == {SANDBOX.client_id: SANDBOX.client_secret}
    assert SANDBOX.institution in bank.institutions


@pytest.mark.parametrize("text", ["", "  ", "ab\ncd", "t\u00e4glich", "a\0b"])
def test_invalid_secret_is_refused(text: str) -> None:
    """The error names its source, not its value."""
    with pytest.raises(ConfigError) as caught:
        questions.checked_key(text, "Secret Key")
    assert str(caught.value).startswith("Secret Key: is ")
    assert text.strip() == "" or text not in str(caught.value)


def test_line_end_of_standard_input_is_dropped() -> None:
    """It is not part of the secret."""
    assert questions.checked_key("word\r\n", "x") == "word"


@pytest.mark.parametrize("text", ["stage", "production", "https://api.example/base"])
def test_valid_place(text: str) -> None:
    """An environment or a URL."""
    assert questions.check_place(text) == text


@pytest.mark.parametrize("text", ["staging", "ftp://x", "http://api.example", "https://a?b"])
def test_invalid_place_is_refused(text: str) -> None:
    """With the error of the setting."""
    with pytest.raises(ConfigError, match=r"^base_url: "):
        questions.check_place(text)


def test_institution() -> None:
    """Leading zeros are kept."""
    assert questions.check_institution("00016") == "00016"
    with pytest.raises(ConfigError, match=r"^institution_id: .* digits"):
        questions.check_institution("sixteen")


@pytest.mark.parametrize(
    ("answer", "environ", "proxy"),
    [
        ("", {"HTTPS_PROXY": "http://me:hidden@out.test:3128"}, "environment"),
        ("n", {"HTTPS_PROXY": "http://me:hidden@out.test:3128"}, ""),
        (None, {"HTTPS_PROXY": "http://out.test:3128", "NO_PROXY": "candescent.com"}, ""),
        (None, {"HTTPS_PROXY": "ftp://out.test"}, ""),
        (None, {}, ""),
    ],
)
def test_proxy_of_the_environment_is_offered(
    monkeypatch: pytest.MonkeyPatch, answer: str | None, environ: dict[str, str], proxy: str
) -> None:
    """Where it serves for the bank's host; the question shows no password."""
    asked: list[str] = []

    def reply(question: str) -> str:
        asked.append(question)
        assert answer is not None
        return answer

    monkeypatch.setattr("builtins.input", reply)
    person = Questions(argparse.Namespace(), environ, can_ask=True)
    assert person._proxy_of_environment("stage") == proxy
    assert asked == (
        [] if answer is None else ["Use the proxy in HTTPS_PROXY, http://out.test:3128? [Y/n] "]
    )
