"""The record of a request."""

import pytest

from proxy.errors import CallerError, Source, kinds
from proxy.forwarding.record import RequestRecord


def test_record_begins_as_a_request_without_an_answer() -> None:
    """Until something happens a request has no status, and nobody is at fault."""
    record = RequestRecord("GET", b"/v1/accounts", 1.0)
    assert (record.status, record.source, record.reason) == (0, Source.NONE, "")
    assert (record.replays, record.is_aborted, record.responded_at) == (0, False, 0)


def test_record_of_one_request_is_not_that_of_another() -> None:
    """What is noted about a request stands in its own record only."""
    first, second = (RequestRecord("GET", b"/", 1.0) for _ in range(2))
    first.status, first.is_aborted = 502, True
    assert (second.status, second.is_aborted) == (0, False)


def timed(**times: float) -> RequestRecord:
    """Return a record of a request that began at 10."""
    record = RequestRecord("GET", b"/", 10.0)
    usual = {"sent_at": 11.0, "responded_at": 14.0, "finished_at": 16.0}
    for name, value in (usual | times).items():
        setattr(record, name, value)
    return record


@pytest.mark.parametrize(
    ("times", "shares"),
    [
        ({}, (3, 3)),
        ({"token_wait": 0.5, "connection_wait": 0.25, "preparation_wait": 0.125}, (2.125, 3)),
        ({"uploaded_at": 13.0}, (3, 1)),
        ({"stream_started_at": 14.5}, (1.5, 3)),
        ({"replays": 1}, None),
        ({"responded_at": 0.0}, None),
    ],
)
def test_whose_time_it_was(times: dict[str, float], shares: tuple[float, float] | None) -> None:
    """Ours is before the bank has the head and behind its answer, less the waits; else its own."""
    assert timed(**times).durations() == shares


@pytest.mark.parametrize(
    ("target", "path"),
    [
        (b"/v1/accounts?loginId=ann", "/v1/accounts"),
        (b"/a?b?c", "/a"),
        (b"?", ""),
        (b"/\xff\x00", "/\xff\x00"),
    ],
)
def test_path_of_a_record_has_no_query(target: bytes, path: str) -> None:
    """A query may name people, so nothing that reads a record sees one."""
    assert RequestRecord("GET", target, 1.0).path == path


def test_record_notes_the_error_that_the_caller_was_told() -> None:
    """Source and name are labels; the kind and the detail explain them."""
    record = RequestRecord("GET", b"/", 1.0)
    record.note(CallerError(kinds.CROSS_SITE, "From another site."))
    assert (record.source, record.reason) == (Source.CALLER, "cross-site")
    assert (record.error_kind, record.detail) == (kinds.CROSS_SITE, "From another site.")
