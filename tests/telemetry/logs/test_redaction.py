"""Redaction: secrets are removed from any log value."""

import logging
from collections.abc import Callable
from typing import Any

import aiohttp
import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from proxy.sandbox import Fault, Sandbox
from proxy.telemetry.logs.redaction import redact
from tests.support.running import running, until, url
from tests.telemetry.logs.writing import LEVELS, SECRET, TOKEN, Format, Level, set_up

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
    """In any field and at any level."""
    out = set_up(form=form)
    leak(getattr(structlog.get_logger(), level))
    assert out.getvalue()
    assert SECRET not in out.getvalue()


@pytest.mark.parametrize("form", ["json", "console"])
@pytest.mark.parametrize("level", ["warning", "error", "critical"])
def test_no_secret_of_a_library(level: str, form: Format) -> None:
    """In its message, arguments and traceback."""
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
def test_no_token_text_behind_bearer(secret: str) -> None:
    """Whatever visible characters it has."""
    event = redact(None, "", {"event": f"Bearer {secret}", "headers": [("x", f"Basic {secret}")]})
    assert event == {"event": "Bearer [hidden]", "headers": [["x", "Basic [hidden]"]]}


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.just(SECRET),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=10,
)


@given(json_values, st.sampled_from(["client_secret", "Authorization", "password", "bearer"]))
def test_values_below_a_secret_name_are_hidden(value: object, name: str) -> None:
    """At any depth."""
    event = redact(None, "", {"event": "x", "answer": [{"inner": {name: value}}]})
    assert SECRET not in str(event)


def test_other_values_stay() -> None:
    """The redacted object is a copy."""
    given = {"event": "a basic idea", "institution": "00016", "seconds": 0.5, "ok": True}
    assert redact(None, "", dict(given)) == given
    nested = {"client_secret": "x"}
    redact(None, "", {"event": "x", "answer": nested})
    assert nested == {"client_secret": "x"}


@pytest.mark.parametrize("form", ["json", "console"])
async def test_no_data_of_callers_and_bank(form: Format) -> None:
    """No credential, query value or body at debug level."""
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
                ) as response:
                    _ = await response.read()
            await until(lambda: not app.forwarder.in_flight)
        tokens = list(bank.bank.tokens)
    written = out.getvalue()
    assert written.count("/v1/accounts") == 1
    assert "token refreshed" in written
    assert "marked" not in written
    assert not [secret for secret in (*tokens, "sandbox-secret", "c2FuZGJveC") if secret in written]
