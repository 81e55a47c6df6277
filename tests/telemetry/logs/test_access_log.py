"""The access log: what a request's line says, and which requests have one."""

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
    """A log to look into."""
    with captured_log() as made:
        yield made


def record(**changes: Any) -> RequestRecord:
    """Return a request that went well in a tenth of a second."""
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
    """Which transaction, what was asked, what came of it, whose error, how long, how much."""
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


def test_line_of_a_request_that_went_wrong(log: CapturedLog) -> None:
    """A failure is a warning, with its reason, its replays, and that it was cut."""
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
def test_failures_are_written_when_sampled(log: CapturedLog, changes: dict[str, Any]) -> None:
    """A sample may leave out good requests only; ``off`` leaves out all."""
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
def test_sample_of_good_requests(
    log: CapturedLog,
    access: Literal["on", "off", "sampled"],
    sample: float,
    chance: float,
    written: bool,
) -> None:
    """On writes all, off none, sampled the share that chance picks."""
    settings = LogSettings(access=access, sample=sample)
    AccessLog(settings, chance=lambda: chance).request(record())
    assert bool(log.getvalue()) == written


@pytest.mark.parametrize("form", ["json", "console"])
def test_path_cannot_forge_a_line(form: str) -> None:
    """Line ends and terminal controls in a path stay inside of their value."""
    target = b"/a\n2026-11-21 [info] forged\r\x1b[2J\x9b\xe2\x80\xa8\x85\xff"
    with captured_log(form=form) as log:
        AccessLog(LogSettings(access="on")).request(record(target=target))
    assert len(log.getvalue().splitlines()) == 1
    assert not {"\x1b", "\r", "\x9b"} & set(log.getvalue())


@pytest.mark.parametrize("form", ["json", "console"])
def test_path_carries_no_credential_into_the_log(form: str) -> None:
    """A token that somebody put into a path is taken out, as everywhere."""
    with captured_log(form=form) as log:
        AccessLog(LogSettings(access="on")).request(record(target=b"/v1/Bearer hush-Zm9v.42"))
    assert "hush" not in log.getvalue()
    assert "[hidden]" in log.getvalue()


@pytest.mark.parametrize("form", ["json", "console"])
def test_level_holds_for_requests(form: str) -> None:
    """Who asks for warnings gets the requests that failed."""
    with captured_log("warning", form) as log:
        access_log = AccessLog(LogSettings(access="on"))
        access_log.request(record())
        assert not log.getvalue()
        access_log.request(record(status=500))
    assert len(log.getvalue().splitlines()) == 1


def test_time_of_a_line(log: CapturedLog) -> None:
    """As in every other line: UTC, with its Z."""
    moment = datetime(2026, 11, 22, 8, 30, 5, 250_000, UTC)
    AccessLog(LogSettings(access="on"), now=lambda: moment).request(record())
    assert log.lines()[0]["timestamp"] == "2026-11-22T08:30:05.250000Z"


@pytest.mark.parametrize("form", ["json", "console"])
def test_line_that_cannot_be_written_ends_nothing(form: str) -> None:
    """A reader that has gone away, or a full disk, is no reason to fail a request."""
    with captured_log(form=form) as log:
        access_log = AccessLog(LogSettings(access="on"))
        log.close()
        access_log.request(record())
