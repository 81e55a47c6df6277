"""Request records."""

import pytest

from proxy.errors import CallerError, Source, kinds, problem_response
from proxy.forwarding.record import RequestRecord


def test_new_record_has_no_response() -> None:
    """It has no status and no error."""
    record = RequestRecord("GET", b"/v1/accounts", 1.0)
    assert (record.status, record.source, record.reason) == (0, Source.NONE, "")
    assert (record.replays, record.is_aborted, record.responded_at) == (0, False, 0)


def test_records_share_nothing() -> None:
    """A change of one record does not affect another."""
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
def test_shares_of_time(times: dict[str, float], shares: tuple[float, float] | None) -> None:
    """The proxy's time is before the request is sent and after the response, without waits."""
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
    """A query may contain personal data."""
    assert RequestRecord("GET", target, 1.0).path == path


def test_record_keeps_the_error_of_the_response() -> None:
    """Source and name are labels; kind and detail explain them."""
    record = RequestRecord("GET", b"/", 1.0)
    record.note(CallerError(kinds.CROSS_SITE, "From another site."))
    assert (record.source, record.reason) == (Source.CALLER, "cross-site")
    assert (record.error_kind, record.detail) == (kinds.CROSS_SITE, "From another site.")


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (b"evil.test:8080", "evil.test:8080"),
        (b'a"\r\nb\x00\xff<', "a???b??<"),
        (b"x" * 300, "x" * 100),
    ],
)
def test_only_operators_read_what_was_given(given: bytes, text: str) -> None:
    """Shortened, and as printable ASCII that cannot end a quotation."""
    error = CallerError(kinds.HOST_NOT_ALLOWED, given=given)
    record = RequestRecord("GET", b"/", 1.0)
    record.note(error)
    assert record.detail == f'{kinds.HOST_NOT_ALLOWED.cause} Given: "{text}".'
    assert text.encode() not in problem_response(error, "t").body
