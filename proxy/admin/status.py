"""Builds the document of ``/api/status``. No I/O."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from proxy.admin.document import (
    About,
    Failure,
    HealthCondition,
    HealthSummary,
    ListenerStatus,
    Load,
    Ready,
    RecentError,
    RecentRequest,
    Refresh,
    Reload,
    Status,
    TokenState,
)
from proxy.admin.health import Condition, HealthInput, TokenHealth, TokenInput
from proxy.admin.history import History, RecentTokenEvent, RepeatedError
from proxy.admin.masking import mask_path
from proxy.admin.rates import last_minute, series
from proxy.admin.readiness import Readiness, warnings
from proxy.errors import TokenError
from proxy.forwarding.record import RequestRecord
from proxy.tokens.cache import Entry
from proxy.tokens.token import Instant

TOKENS = 1000
INSTITUTIONS = 100
LONGEST = 128
"""Largest number of characters of values that a caller has chosen."""

_URGENCY = {"missing": 0, "failing": 1, "pending": 2, "fresh": 3}


@dataclass(frozen=True, slots=True)
class StatusInput:
    """The state of the proxy at ``now``."""

    now: Instant
    about: About
    listeners: list[ListenerStatus]
    readiness: Readiness
    conditions: Sequence[Condition]
    entries: Sequence[Entry]
    institutions: frozenset[str]
    load: Load


def build(source: StatusInput, history: History) -> Status:
    """Return the document."""
    urgent = sorted(source.entries, key=lambda entry: _urgency(entry, source.now))
    tokens = [token_state(entry, source.now) for entry in urgent[:TOKENS]]
    errors = [_recent_error(each, source) for each in reversed(history.errors.values())]
    minute = last_minute([*history.samples, history.totals()])
    return Status(
        format=1,
        at=source.now.wall,
        health=_summary(source.conditions),
        about=source.about,
        listeners=source.listeners,
        readiness=Ready(
            ready=source.readiness.is_ready,
            reasons=source.readiness.reasons,
            warnings=warnings(source.readiness, source.conditions),
        ),
        tokens=tokens,
        tokens_in_all=len(urgent),
        refreshes=[refresh(event) for event in reversed(history.events)],
        errors=errors,
        requests=[recent_request(record, source) for record in reversed(history.requests)],
        load=source.load,
        minute=minute,
        series=series(history.intervals),
        reload=_reload(history),
    )


def health_input(
    entries: Iterable[Entry], history: History, now: Instant, *, draining: bool, reload_failure: str
) -> HealthInput:
    """Return the facts from which ``assess`` decides the health of the proxy."""
    return HealthInput(
        tokens=[_token_input(entry, now) for entry in entries],
        traffic=history.traffic(),
        draining=draining,
        reload_failure=reload_failure,
    )


def _token_input(entry: Entry, now: Instant) -> TokenInput:
    error = entry.error
    return TokenInput(
        entry.key,
        token_health(entry, now),
        entry.pinned,
        entry.is_new,
        max(entry.token.remaining(now), 0.0) if entry.token else 0.0,
        error.explained_by if error else None,
        error.operator_detail if error else "",
        (entry.call_seconds, entry.lifetime) if entry.is_call_slow else None,
        entry.held.is_in_conflict,
    )


def _summary(conditions: Sequence[Condition]) -> HealthSummary:
    worst, *others = [
        HealthCondition(
            state=each.state,
            reason=each.reason,
            sentence=each.sentence,
            cause=each.cause,
            advice=each.advice,
            institutions=list(each.institutions[:INSTITUTIONS]),
        )
        for each in conditions
    ]
    return HealthSummary(**dict(worst), others=others)


def token_health(entry: Entry, now: Instant) -> TokenHealth:
    """Return the state of a token."""
    if entry.token is not None and entry.token.is_alive(now):
        return "fresh" if entry.error is None else "failing"
    return "pending" if entry.error is None else "missing"


def _urgency(entry: Entry, now: Instant) -> tuple[object, ...]:
    """Return the sort key of tokens: problems first. It is stable while there are none."""
    state = token_health(entry, now)
    left = entry.token.expires_at if state == "failing" and entry.token is not None else 0.0
    return (_URGENCY[state], not entry.pinned, left, *entry.key[1:], entry.key.kind)


def token_state(entry: Entry, now: Instant) -> TokenState:
    """Return the public state of a token."""
    token, error = entry.token, entry.error
    wait = entry.until_due(now)
    return TokenState(
        kind=entry.key.kind,
        institution=entry.key.institution,
        login=entry.key.subject,
        origin=entry.key.origin,
        state=token_health(entry, now),
        pinned=entry.pinned,
        refreshing=entry.fetch is not None,
        issued_at=token.issued.wall if token else None,
        lifetime=token.lifetime if token else None,
        expires_at=now.wall + token.remaining(now) if token else None,
        refresh_at=now.wall + wait if entry.fetch is None else None,
        runway=max(token.remaining(now), 0.0) if token else 0.0,
        failures=entry.failures,
        failure=None if error is None else _failure(error),
    )


def _failure(error: TokenError) -> Failure:
    return Failure(
        reason=error.kind.name,
        detail=error.operator_detail,
        advice=error.explained_by.remedy,
        code=error.code,
    )


def refresh(event: RecentTokenEvent) -> Refresh:
    """Return the public form of a token event."""
    return Refresh(
        at=event.at,
        kind=event.key.kind,
        institution=event.key.institution,
        login=event.key.subject,
        why=event.why,
        result=event.result,
        took=event.took,
        lifetime=event.lifetime,
        failures=event.failures,
        retry_in=event.retry_in,
        reason=event.reason,
        detail=event.detail,
    )


def recent_request(record: RequestRecord, source: StatusInput) -> RecentRequest:
    """Return the public form of a request, with a masked path."""
    shares = record.durations()
    own, upstream = (None, None) if shares is None else map(_ms, shares)
    return RecentRequest(
        at=_wall(record.finished_at, source.now),
        method=record.method[:LONGEST],
        path=mask_path(record.path, source.institutions),
        status=record.status,
        error_source=record.source,
        reason=record.reason,
        route=str(record.route),
        institution=record.institution,
        listener=record.listener,
        transactionId=record.transaction_id[:LONGEST],
        total_ms=_ms(record.finished_at - record.started_at),
        proxy_ms=own,
        upstream_ms=upstream,
        waited_ms=_ms(record.token_wait + record.connection_wait + record.preparation_wait),
        replays=record.replays,
        aborted=record.is_aborted,
    )


def _recent_error(error: RepeatedError, source: StatusInput) -> RecentError:
    record = error.record
    return RecentError(
        area=error.area,
        source=error.source,
        reason=error.reason,
        detail=error.detail,
        advice=error.kind.remedy,
        count=error.count,
        first_at=error.first_at,
        last_at=error.last_at,
        institution=error.institution,
        transactionId=record.transaction_id[:LONGEST] if record else "",
        method=record.method[:LONGEST] if record else "",
        path=mask_path(record.path, source.institutions) if record else "",
        status=record.status if record else 0,
    )


def _reload(history: History) -> Reload | None:
    if history.reload is None:
        return None
    event = history.reload
    return Reload(at=event.at, success=event.success, why=event.why, detail=event.detail)


def _wall(monotonic: float, now: Instant) -> float:
    return now.wall - (now.monotonic - monotonic)


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 2)
