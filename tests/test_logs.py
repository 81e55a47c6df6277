"""Log lines: what is in them, which are written, and what must never be."""

import io
import json
import logging
from collections.abc import Callable, Iterator
from typing import Any, Literal

import aiohttp
import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from proxy import logs
from proxy.errors import TokenError, TokenFailure
from proxy.facts import (
    Fact,
    Reloaded,
    ReloadFailed,
    TokenRefreshed,
    TokenRefreshFailed,
    TokenRejected,
    TokenReleased,
)
from proxy.logs import FactLog, redact
from proxy.sandbox import Fault, Sandbox
from proxy.sections import LogSettings
from proxy.tokens.token import Moment, Token, TokenKey, TokenKind
from tests.running import running, until, url

SECRET = "hush-Zm9vYmFy.42"
KEY = TokenKey(TokenKind.V2, "00016")
TOKEN = Token(KEY, SECRET, Moment(1, 1_800_000_000), 3600)

Level = Literal["debug", "info", "warning", "error"]
Format = Literal["auto", "json", "console"]
LEVELS: tuple[Level, ...] = ("debug", "info", "warning", "error")


class Terminal(io.StringIO):
    """A stream that a person looks at."""

    def isatty(self) -> bool:
        """Say so."""
        return True


class Broken(io.StringIO):
    """A stream whose other end is gone, or whose disk is full."""

    def write(self, text: str) -> int:
        """Fail."""
        raise BrokenPipeError


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    yield
    root.handlers = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def set_up(level: Level = "debug", form: Format = "json") -> io.StringIO:
    """Send the log into what is returned."""
    out = io.StringIO()
    logs.set_up(LogSettings(level=level, format=form), out)
    return out


def lines(out: io.StringIO) -> list[dict[str, Any]]:
    """Return the lines of a JSON log."""
    return [json.loads(line) for line in out.getvalue().splitlines()]


# Redaction.

LEAKS: dict[str, Callable[[Any], object]] = {
    "bearer in text": lambda log: log(f"sent Authorization: Bearer {SECRET}"),
    "basic in text": lambda log: log(f"sent authorization: basic {SECRET}"),
    "bearer in a value": lambda log: log("sent", line=f"BEARER   {SECRET}"),
    "bytes": lambda log: log("sent", raw=f"Bearer {SECRET}".encode()),
    "name": lambda log: log("sent", authorization=SECRET),
    "name in another case": lambda log: log("sent", **{"Proxy-Authorization": SECRET}),
    "secret": lambda log: log("read", client_secret=SECRET),
    "password": lambda log: log("read", db_password=[SECRET]),
    "token": lambda log: log("got", token=SECRET, access_token=SECRET, refresh_token=SECRET),
    "private name": lambda log: log("read", _client_secret=SECRET),
    "cookie": lambda log: log("got", **{"Set-Cookie": SECRET}),
    "nested": lambda log: log("got", answer={"data": [{"access_token": SECRET}]}),
    "list": lambda log: log("sent", lines=["Host: x", f"Bearer {SECRET}"]),
    "header pairs": lambda log: log("sent", headers=[(b"Authorization", SECRET.encode())]),
    "tuple of pairs": lambda log: log("sent", headers=((b"x", b"y"), (b"COOKIE", SECRET))),
    "set": lambda log: log("sent", lines={f"Bearer {SECRET}"}),
    "object": lambda log: log("got", error=ValueError(f"Bearer {SECRET}")),
    "token itself": lambda log: log("got", kept=TOKEN),
    "exception": lambda log: log("failed", exc_info=ValueError(f"refused Bearer {SECRET}")),
}


@pytest.mark.parametrize("form", ["json", "console"])
@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("leak", LEAKS.values(), ids=LEAKS)
def test_no_secret_at_any_level(leak: Callable[[Any], object], level: Level, form: Format) -> None:
    """However a credential gets into a line, and at whatever level, it does not get out."""
    out = set_up(form=form)
    leak(getattr(structlog.get_logger(), level))
    assert out.getvalue()
    assert SECRET not in out.getvalue()


@pytest.mark.parametrize("form", ["json", "console"])
@pytest.mark.parametrize("level", ["warning", "error", "critical"])
def test_no_secret_of_a_library(level: str, form: Format) -> None:
    """What a library logs goes the same way: message, arguments and traceback."""
    out = set_up(form=form)
    logger = logging.getLogger("aiohttp.client")
    try:
        raise ValueError(f"Bearer {SECRET}")
    except ValueError:
        getattr(logger, level)(
            "refused %s %s", f"Basic {SECRET}", [f"Bearer {SECRET}"], exc_info=True
        )
    assert "ValueError" in out.getvalue()
    assert SECRET not in out.getvalue()


@given(st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=6, max_size=99))
def test_no_token_text_passes(secret: str) -> None:
    """Whatever visible characters a token is made of, none of it remains behind ``Bearer``."""
    event = redact(None, "", {"event": f"Bearer {secret}", "headers": [("x", f"Basic {secret}")]})
    assert event == {"event": "Bearer [hidden]", "headers": [["x", "Basic [hidden]"]]}


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.just(SECRET),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=10,
)


@given(json_values, st.sampled_from(["client_secret", "Authorization", "password", "bearer"]))
def test_nothing_below_a_secret_name_passes(value: object, name: str) -> None:
    """A secret name hides all that it holds, at any depth."""
    event = redact(None, "", {"event": "x", "answer": [{"inner": {name: value}}]})
    assert SECRET not in str(event)


def test_what_is_no_secret_stays() -> None:
    """Redaction leaves the rest readable, and what it is asked about unchanged."""
    given = {"event": "a basic idea", "institution": "00016", "seconds": 0.5, "ok": True}
    assert redact(None, "", dict(given)) == given
    nested = {"client_secret": "x"}
    redact(None, "", {"event": "x", "answer": nested})
    assert nested == {"client_secret": "x"}


# Set-up.


def test_json_line() -> None:
    """A line is one JSON object with what happened, how bad it is, and when in UTC."""
    out = set_up()
    structlog.get_logger().info("listening", port=8080)
    (line,) = lines(out)
    assert (line["event"], line["level"], line["port"]) == ("listening", "info", 8080)
    assert line["timestamp"].endswith("Z")


def test_format_follows_the_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unless told otherwise: readable on a terminal, JSON in a pipe."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    for stream, readable in ((io.StringIO(), False), (Terminal(), True)):
        logs.set_up(LogSettings(), stream)
        structlog.get_logger().info("listening")
        assert stream.getvalue().startswith("{") != readable
        assert ("\x1b[" in stream.getvalue()) == readable


def test_no_colours_where_none_are_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    """NO_COLOR is honoured, also on a terminal."""
    monkeypatch.setenv("NO_COLOR", "1")
    terminal = Terminal()
    logs.set_up(LogSettings(), terminal)
    structlog.get_logger().info("listening", port=8080)
    assert "\x1b" not in terminal.getvalue()
    assert "port=8080" in terminal.getvalue()


def test_console_in_a_file_has_no_colours() -> None:
    """A readable log that is not on a terminal is plain text."""
    out = set_up(form="console")
    structlog.get_logger().warning("listening", port=8080)
    assert "\x1b" not in out.getvalue()
    assert "port=8080" in out.getvalue()


@pytest.mark.parametrize("level", LEVELS)
def test_level(level: Level) -> None:
    """Nothing below the level is written, everything from it on is."""
    out = set_up(level)
    for name in LEVELS:
        getattr(structlog.get_logger(), name)(name)
    assert [line["event"] for line in lines(out)] == list(LEVELS[LEVELS.index(level) :])


def test_libraries_are_heard_when_something_is_wrong() -> None:
    """Their warnings come as lines like ours; their chatter does not, not even at debug."""
    out = set_up("debug")
    logger = logging.getLogger("some.library")
    for write in (logger.debug, logger.info, logger.warning):
        write("said %s", "so")
    (line,) = lines(out)
    assert (line["event"], line["level"]) == ("said so", "warning")


def test_level_holds_for_libraries_too() -> None:
    """An operator who wants errors only gets errors only."""
    out = set_up("error")
    logging.getLogger("some.library").warning("careful")
    assert not out.getvalue()


@pytest.mark.parametrize("stream", [Broken(), "closed"])
@pytest.mark.parametrize("form", ["json", "console"])
def test_log_that_cannot_be_written_ends_nothing(
    stream: io.StringIO | str, form: Format, capsys: pytest.CaptureFixture[str]
) -> None:
    """A reader that has gone away, or a full disk, is no reason to fail a request."""
    if isinstance(stream, str):
        stream = io.StringIO()
        stream.close()
        # Such a stream cannot even say whether it is a terminal.
        stream.isatty = lambda: False  # type: ignore[method-assign]
    logs.set_up(LogSettings(format=form), stream)
    FactLog().warn("lost")
    logging.getLogger("some.library").error("lost")
    assert capsys.readouterr().err == ""


# The life of a token.

FACTS: list[tuple[Fact, dict[str, Any]]] = [
    (
        TokenRefreshed(TOKEN, 0.1234, 3300.04),
        {"event": "token refreshed", "level": "info", "lifetime": 3600, "refresh_in": 3300.0},
    ),
    (
        TokenRefreshFailed(
            KEY, TokenError(TokenFailure.THROTTLED, "Too much.", code="CMN_90002"), 0.2, 3, 20
        ),
        {"event": "token refresh failed", "level": "warning", "reason": "throttled"}
        | {"code": "CMN_90002", "failures": 3, "retry_in": 20, "detail": "Too much."},
    ),
    (TokenRejected(TOKEN, dropped=True), {"event": "bank refused a token", "dropped": True}),
    (TokenReleased(KEY), {"event": "unused token released", "level": "info"}),
]
RELOADS: list[tuple[Fact, dict[str, Any]]] = [
    (Reloaded("signal"), {"event": "configuration taken", "level": "info", "why": "signal"}),
    (
        ReloadFailed("file", "listen: changed."),
        {"event": "changed configuration not taken", "level": "error", "why": "file"}
        | {"detail": "listen: changed."},
    ),
]


@pytest.mark.parametrize(("fact", "expected"), FACTS, ids=lambda value: type(value).__name__)
def test_line_of_a_fact(fact: Fact, expected: dict[str, Any]) -> None:
    """Each event of a token's life is one line that names the token's key, never its text."""
    out = set_up()
    FactLog().fact(fact)
    (line,) = lines(out)
    assert line.items() >= {"kind": "v2", "institution": "00016", **expected}.items()
    assert SECRET not in out.getvalue()


@pytest.mark.parametrize(("fact", "expected"), RELOADS, ids=lambda value: type(value).__name__)
def test_line_of_a_reload(fact: Fact, expected: dict[str, Any]) -> None:
    """A change that was taken, or was not and why, is one line."""
    out = set_up()
    FactLog().fact(fact)
    (line,) = lines(out)
    assert line.items() >= expected.items()
    assert "exception" not in line


def test_warning_for_an_operator() -> None:
    """What fails no request but should be known is a warning, redacted like all else."""
    out = set_up()
    FactLog().warn(f"kept nowhere: Bearer {SECRET}")
    (line,) = lines(out)
    assert (line["level"], line["event"]) == ("warning", "kept nowhere: Bearer [hidden]")


def test_mistake_of_our_own_is_told_with_its_place() -> None:
    """Only a bug comes with a traceback, and that without credentials."""
    out = set_up()
    bug = TokenError(TokenFailure.INTERNAL, "It failed.")
    try:
        raise ZeroDivisionError(f"Bearer {SECRET}")
    except ZeroDivisionError as error:
        bug.__cause__ = error
        FactLog().crash(error)
    FactLog().fact(TokenRefreshFailed(KEY, bug, 0.1, 1, 1))
    for line in lines(out):
        assert "test_logs.py" in line["exception"]
        assert "ZeroDivisionError" in line["exception"]
    assert SECRET not in out.getvalue()


def test_ordinary_failure_has_no_traceback() -> None:
    """A bank that is down is no bug."""
    out = set_up()
    error = TokenError(TokenFailure.UNREACHABLE, "It is down.")
    error.__cause__ = OSError("refused")
    FactLog().fact(TokenRefreshFailed(KEY, error, 0.1, 1, 1))
    assert "exception" not in lines(out)[0]


# The whole program.


@pytest.mark.parametrize("form", ["json", "console"])
async def test_nothing_of_callers_and_bank_leaks(form: Format) -> None:
    """After good and bad requests at debug level, no credential, query value or body is there."""
    out = set_up(form=form)
    async with Sandbox() as bank:
        bank.bank.faults.append(Fault("resource", status=401, times=1))
        async with (
            running(bank, log={"access": "on", "level": "debug"}) as app,
            aiohttp.ClientSession(url(app)) as caller,
        ):
            for path in ("/v1/accounts", "/oauth2/v1/token", "/nowhere"):
                async with caller.post(
                    path,
                    params={"loginId": "marked-query"},
                    headers={"Authorization": "Bearer marked-caller", "Cookie": "marked-cookie"},
                    data="marked-body",
                ) as answer:
                    _ = await answer.read()
            await until(lambda: not app.forwarder.in_flight)
        tokens = list(bank.bank.tokens)
    written = out.getvalue()
    assert written.count("/v1/accounts") == 1
    assert "token refreshed" in written
    assert "marked" not in written
    assert not [secret for secret in (*tokens, "sandbox-secret", "c2FuZGJveC") if secret in written]
