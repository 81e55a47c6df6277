"""The access log: content of a line, and which requests have one."""

import io
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Literal

import pytest

from proxy.errors import Source
from proxy.forwarding.record import RequestRecord
from proxy.server.caller import NO_CALLER, Caller
from proxy.server.messages import Request
from proxy.telemetry.logs.access_log import MAX_USER_AGENT, AccessLog, mask_address
from proxy.telemetry.telemetry_settings import LogSettings
from tests.server.test_request_parser import NoConnection
from tests.support.captured_log import CapturedLog, captured_log


@pytest.fixture
def log() -> Iterator[CapturedLog]:
    """A captured log."""
    with captured_log() as made:
        yield made


def record(**changes: Any) -> RequestRecord:
    """Return a successful request of 100 ms."""
    made = RequestRecord("GET", b"/v1/accounts?loginId=marked", 10.0)
    usual = {
        "transaction_id": "5f1d7a8e-0c54-4b1e-9d0a-6f2f6f7c1a01",
        "route": "v2",
        "institution": "00016",
        "status": 200,
        "sent_at": 10.01,
        "responded_at": 10.06,
        "finished_at": 10.1,
        "received_bytes": 700,
    }
    for name, value in (usual | changes).items():
        setattr(made, name, value)
    return made


def test_line_of_a_request(log: CapturedLog) -> None:
    """Transaction id, request, outcome, duration and sizes."""
    AccessLog(LogSettings(access="on")).request(record(sent_bytes=5))
    (line,) = log.lines()
    del line["timestamp"]
    assert line == {
        "event": "request",
        "level": "info",
        "transactionId": "5f1d7a8e-0c54-4b1e-9d0a-6f2f6f7c1a01",
        "method": "GET",
        "path": "/v1/accounts",
        "status": 200,
        "error_source": "none",
        "route": "v2",
        "institution": "00016",
        "ms": 100.0,
        "upstream_ms": 50.0,
        "upload_bytes": 5,
        "download_bytes": 700,
    }


def test_line_of_a_failed_request(log: CapturedLog) -> None:
    """A warning with reason, replays and abort."""
    AccessLog(LogSettings(access="on")).request(
        record(
            source=Source.UPSTREAM,
            reason="upstream-closed",
            replays=1,
            is_aborted=True,
            responded_at=0,
        )
    )
    (line,) = log.lines()
    assert (line["level"], line["error_source"]) == ("warning", "upstream")
    assert (line["reason"], line["replays"], line["aborted"]) == ("upstream-closed", 1, True)
    assert "upstream_ms" not in line


BAD = {
    "ours": {"source": Source.TOKEN, "status": 503},
    "callers": {"source": Source.CALLER, "status": 400},
    "cut": {"is_aborted": True},
    "the bank's": {"status": 500},
    "against a policy that only warns": {"has_policy_warning": True},
}


@pytest.mark.parametrize("changes", BAD.values(), ids=BAD)
def test_failures_are_logged_when_sampled(log: CapturedLog, changes: dict[str, Any]) -> None:
    """Only ``off`` drops them."""
    AccessLog(LogSettings(access="sampled", sample=0), chance=lambda: 0.0).request(
        record(**changes)
    )
    assert len(log.lines()) == 1
    AccessLog(LogSettings(access="off")).request(record(**changes))
    assert len(log.lines()) == 1


@pytest.mark.parametrize(
    ("access", "sample", "chance", "written"),
    [
        ("on", 0.0, 0.999, True),
        ("off", 1.0, 0.0, False),
        ("sampled", 0.25, 0.2499, True),
        ("sampled", 0.25, 0.25, False),
        ("sampled", 0.0, 0.0, False),
        ("sampled", 1.0, 0.999, True),
    ],
)
def test_sampling_of_good_requests(
    log: CapturedLog,
    access: Literal["on", "off", "sampled"],
    sample: float,
    chance: float,
    written: bool,
) -> None:
    """On writes all, off none, sampled a random share."""
    settings = LogSettings(access=access, sample=sample)
    AccessLog(settings, chance=lambda: chance).request(record())
    assert bool(log.getvalue()) == written


@pytest.mark.parametrize("form", ["json", "console"])
def test_path_cannot_forge_a_line(form: str) -> None:
    """Line ends and terminal controls are escaped."""
    target = b"/a\n2026-11-21 [info] forged\r\x1b[2J\x9b\xe2\x80\xa8\x85\xff"
    with captured_log(form=form) as log:
        AccessLog(LogSettings(access="on")).request(record(target=target))
    assert len(log.getvalue().splitlines()) == 1
    assert not {"\x1b", "\r", "\x9b"} & set(log.getvalue())


@pytest.mark.parametrize("form", ["json", "console"])
def test_token_in_a_path_is_redacted(form: str) -> None:
    """As everywhere in the log."""
    with captured_log(form=form) as log:
        AccessLog(LogSettings(access="on")).request(record(target=b"/v1/Bearer hush-Zm9v.42"))
    assert "hush" not in log.getvalue()
    assert "[hidden]" in log.getvalue()


@pytest.mark.parametrize("form", ["json", "console"])
def test_level_applies_to_requests(form: str) -> None:
    """Level warning logs failed requests only."""
    with captured_log("warning", form) as log:
        access_log = AccessLog(LogSettings(access="on"))
        access_log.request(record())
        assert not log.getvalue()
        access_log.request(record(status=500))
    assert len(log.getvalue().splitlines()) == 1


def request(caller: Caller, agent: bytes, version: tuple[int, int] = (1, 1)) -> Request:
    """Return a request of ``caller``."""
    connection = NoConnection()
    connection.caller = caller
    headers = [(b"Host", b"x"), (b"user-agent", agent)]
    return Request(connection, "GET", b"/", version, headers, True)


def called(**settings: Any) -> dict[str, Any]:
    """Return what a line says of a caller from the internal network."""
    with captured_log() as log:
        caller = Caller("192.0.2.77", ("payroll.test", "spiffe://payroll"))
        made = request(caller, b"payroll/1.0 (Bearer hush-Zm9v.42)")
        AccessLog(LogSettings(access="on", **settings)).request(record(request=made))
    (line,) = log.lines()
    return {name: line.get(name) for name in ("caller", "caller_address", "user_agent")}


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, {}),
        ({"access_address": "masked"}, {"caller_address": "192.0.2.0"}),
        ({"access_address": "off"}, {"caller_address": None}),
        ({"access_user_agent": False}, {"user_agent": None}),
    ],
)
def test_line_says_who_called(settings: dict[str, Any], expected: dict[str, Any]) -> None:
    """Certificate name, address and User-Agent without credentials, as the settings permit."""
    everything = {
        "caller": "payroll.test",
        "caller_address": "192.0.2.77",
        "user_agent": "payroll/1.0 (Bearer [hidden]",
    }
    assert called(**settings) == everything | expected


def test_application_is_the_caller(log: CapturedLog) -> None:
    """Rather than the first name in the certificate; without either there is no caller."""
    caller = Caller("", ("other.test",))
    AccessLog(LogSettings(access="on")).request(record(caller=caller, application="payroll"))
    AccessLog(LogSettings(access="on")).request(record())
    named, unnamed = log.lines()
    assert named["caller"] == "payroll"
    assert not {"caller", "caller_address", "user_agent"} & unnamed.keys()


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.77", "192.0.2.0"),
        ("::ffff:192.0.2.77", "192.0.2.0"),
        ("2001:db8:1:2::3", "2001:db8:1::"),
        ("fe80::1%eth0", "fe80::"),
    ],
)
def test_masked_address(address: str, network: str) -> None:
    """/24, and /48 of IPv6."""
    assert mask_address(address) == network


def test_user_agent_is_cut(log: CapturedLog) -> None:
    """At a length that every usual one has room in."""
    agent = b"x" * (MAX_USER_AGENT + 1)
    AccessLog(LogSettings(access="on")).request(record(request=request(NO_CALLER, agent)))
    assert log.lines()[0]["user_agent"] == "x" * MAX_USER_AGENT


@pytest.mark.parametrize("form", ["json", "console"])
def test_format_applies_whatever_the_others_have(form: str) -> None:
    """A template, and JSON, also where other lines are text."""
    moment = datetime(2026, 11, 22, 8, 30, 5, 250_000, UTC)
    made = record(request=request(Caller("192.0.2.77"), b"curl", (1, 0)))
    template = "{timestamp} [{clf_time}] {level} {listener} {method} {protocol} {reason}"
    with captured_log(form=form) as log:
        for access_format in (template, "json"):
            settings = LogSettings(access="on", access_format=access_format)
            AccessLog(settings, now=lambda: moment).request(made)
    text, line = log.getvalue().splitlines()
    assert text == (
        "2026-11-22T08:30:05.250000Z [22/Nov/2026:08:30:05 +0000] info main GET HTTP/1.0 -"
    )
    assert json.loads(line)["event"] == "request"


def test_lines_in_a_file_are_json() -> None:
    """Also where standard error is a terminal."""
    file = io.StringIO()
    with captured_log(form="console") as log:
        AccessLog(LogSettings(access="on"), file).request(record())
    assert json.loads(file.getvalue())["event"] == "request"
    assert not log.getvalue()


def test_time_is_utc(log: CapturedLog) -> None:
    """With a Z, as in every line."""
    moment = datetime(2026, 11, 22, 8, 30, 5, 250_000, UTC)
    AccessLog(LogSettings(access="on"), now=lambda: moment).request(record())
    assert log.lines()[0]["timestamp"] == "2026-11-22T08:30:05.250000Z"


@pytest.mark.parametrize("form", ["json", "console"])
def test_write_error_is_ignored(form: str) -> None:
    """A closed pipe or a full disk fails no request."""
    with captured_log(form=form) as log:
        access_log = AccessLog(LogSettings(access="on"))
        log.close()
        access_log.request(record())
