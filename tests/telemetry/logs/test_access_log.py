"""The access log: content of a line, and which requests have one."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Literal

import pytest

from proxy.errors import Source
from proxy.forwarding.record import RequestRecord
from proxy.telemetry.logs.access_log import AccessLog
from proxy.telemetry.telemetry_settings import LogSettings
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
