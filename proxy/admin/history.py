"""Recent requests, events and errors for the status page, in bounded memory.

A request costs one append. Everything else is computed when the page is requested.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from proxy.admin.document import Area
from proxy.admin.health import Outcome, Traffic
from proxy.admin.rates import (
    INTERVAL,
    INTERVALS,
    SAMPLES,
    Interval,
    Sample,
    interval_between,
    minute_of,
    seconds_between,
)
from proxy.errors import ErrorKind, Source, kinds
from proxy.forwarding.record import RequestRecord
from proxy.telemetry.events import Event, Reloaded, ReloadFailed
from proxy.telemetry.metrics.totals import Totals, less
from proxy.tokens.events import (
    TokenConflict,
    TokenRefreshed,
    TokenRefreshFailed,
    TokenRejected,
    Trigger,
)
from proxy.tokens.token import Instant, TokenKey
from proxy.upstream.bank_errors import CANDIDATES

MAX_REQUESTS = 100
MAX_EVENTS = 100
MAX_ERRORS = 50

_BY_STATUS = {401: kinds.BANK_DENIED, 403: kinds.BANK_DENIED, 429: kinds.BANK_THROTTLED}
_UNUSED = kinds.SLOW_HEAD
"""Not a request: browsers open connections that they do not use."""


@dataclass(frozen=True, slots=True)
class RecentTokenEvent:
    """An event of a token, as plain values: the event itself would keep the token's text.

    ``at`` is in Unix seconds, other times are seconds.
    """

    at: float
    key: TokenKey
    why: Trigger
    result: Literal["refreshed", "failed", "rejected"]
    took: float | None = None
    lifetime: float | None = None
    failures: int = 0
    retry_in: float | None = None
    reason: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class ReloadEvent:
    """A reload of the configuration; ``detail`` is the reason of a failure."""

    at: float
    success: bool
    why: str
    detail: str = ""


@dataclass(slots=True)
class RepeatedError:
    """Errors of one area and kind; times are Unix seconds.

    ``reason`` is the name in the response, ``kind`` has the exact cause and remedy; ``record`` is
    the last request with it.
    """

    area: Area
    kind: ErrorKind
    source: Source
    reason: str
    detail: str
    first_at: float
    last_at: float = 0.0
    count: int = 0
    institution: str = ""
    record: RequestRecord | None = None


def outcome_kind(record: RequestRecord) -> ErrorKind | None:
    """Return the kind of a finished request's error, also of the bank's own; None without one."""
    status = record.status
    if record.error_kind is not None:
        return record.error_kind
    if record.is_token_refused and status in CANDIDATES:
        return kinds.TOKEN_REFUSED
    if status >= 500:
        return kinds.BANK_ERROR
    return _BY_STATUS.get(status)


class History:
    """The history. ``totals`` returns the counters of the metrics.

    ``failures`` counts requests by kind of error and institution since the start, those to which
    the bank responded with a refusal or error of its own included.
    """

    def __init__(self, totals: Callable[[], Totals], clock: Callable[[], Instant]) -> None:
        self._totals = totals
        self._clock = clock
        self.requests: deque[RequestRecord] = deque(maxlen=MAX_REQUESTS)
        self.events: deque[RecentTokenEvent] = deque(maxlen=MAX_EVENTS)
        self.samples: deque[Sample] = deque(maxlen=SAMPLES)
        self.intervals: deque[Interval] = deque(maxlen=INTERVALS)
        self.errors: dict[tuple[Area, ErrorKind], RepeatedError] = {}
        self.failures: dict[tuple[ErrorKind, str], int] = {}
        self.reload: ReloadEvent | None = None

    async def run(self) -> None:
        """Take samples until cancelled."""
        while True:
            self.sample()
            await asyncio.sleep(INTERVAL)

    def sample(self) -> None:
        """Store a sample of the counters, and the interval since the last one."""
        newest = self.totals()
        if self.samples:
            self.intervals.append(interval_between(self.samples[-1], newest))
        self.samples.append(newest)

    def totals(self) -> Sample:
        """Return the counters at this moment."""
        return Sample(self._clock(), self._totals(), self.failures.copy())

    def traffic(self) -> Traffic:
        """Return the outcomes of the last minute."""
        oldest, newest = minute_of([*self.samples, self.totals()])
        now, seconds = newest.at.monotonic, seconds_between(oldest, newest)
        totals, failures = (
            newest.totals.since(oldest.totals),
            less(newest.failures, oldest.failures),
        )
        unused = failures.pop((_UNUSED, ""), 0)
        return Traffic(
            requests=less(totals.institutions, {"": unused}),
            failures=failures,
            has_bank_response=totals.bank_responses > 0,
            recent=[
                Outcome(now - record.finished_at, record.institution, kind)
                for record in self.requests
                if now - record.finished_at <= seconds
                and (record.status or record.reason)
                and (kind := outcome_kind(record)) is not _UNUSED
            ],
            details={kind: each.detail for (area, kind), each in self.errors.items()},
        )

    def request(self, record: RequestRecord) -> None:
        """Store a request; one with an error, also of the bank, is counted as an error too."""
        self.requests.append(record)
        if record.status < 400 and not record.reason:
            return
        kind = outcome_kind(record)
        if kind is not None:
            answer = f"The bank responded {record.status}."
            detail = record.detail or (answer if kind is kinds.BANK_ERROR else kind.cause)
            entry = self._record_error("request", kind, detail, record.institution)
            entry.source, entry.record = record.source, record
            entry.reason = record.reason or kind.name
            key = (kind, record.institution)
            self.failures[key] = self.failures.get(key, 0) + 1

    def event(self, event: Event) -> None:
        """Store an event of a token or of the configuration."""
        now = self._clock().wall
        match event:
            case TokenRefreshed(token, took, _, why):
                self.events.append(
                    RecentTokenEvent(now, token.key, why, "refreshed", took, token.lifetime)
                )
            case TokenRefreshFailed(key, error, took, failures, delay, why):
                failure_fields = (failures, delay, error.kind.name, error.operator_detail)
                self.events.append(
                    RecentTokenEvent(now, key, why, "failed", took, None, *failure_fields)
                )
                entry = self._record_error(
                    "token", error.explained_by, error.operator_detail, key.institution
                )
                entry.source, entry.reason = error.kind.source, error.kind.name
            case TokenRejected(token):
                kind = kinds.TOKEN_REFUSED
                self.events.append(
                    RecentTokenEvent(
                        *(now, token.key, Trigger.REJECTED, "rejected"),
                        reason=kind.name,
                        detail=kind.cause,
                    )
                )
                self._record_error("token", kind, kind.cause, token.key.institution)
            case TokenConflict(key):
                conflict = kinds.TOKEN_CONFLICT
                self._record_error("token", conflict, conflict.cause, key.institution)
            case Reloaded(why):
                self.reload = ReloadEvent(now, success=True, why=why)
            case ReloadFailed(why, detail):
                self.reload = ReloadEvent(now, success=False, why=why, detail=detail)
                self._record_error("configuration", kinds.RELOAD_FAILED, detail, "")
            case _:
                pass  # the page does not show other events

    def _record_error(
        self, area: Area, kind: ErrorKind, detail: str, institution: str
    ) -> RepeatedError:
        # Removed and added again, so that the dictionary is ordered by time.
        now = self._clock().wall
        entry = self.errors.pop((area, kind), None)
        if entry is None:
            entry = RepeatedError(area, kind, kind.source, kind.name, detail, now)
            if len(self.errors) >= MAX_ERRORS:
                self.errors.pop(next(iter(self.errors)))
        entry.last_at, entry.detail, entry.institution = now, detail, institution
        entry.count += 1
        self.errors[area, kind] = entry
        return entry
