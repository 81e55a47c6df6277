"""Builds what ``/api/status`` answers, out of what the proxy knows at a moment. No I/O."""

from collections.abc import Sequence
from dataclasses import dataclass

from proxy.admin import verdict
from proxy.admin.advice import advice_for
from proxy.admin.document import (
    About,
    Answered,
    Failure,
    Listener,
    Load,
    Ready,
    Refresh,
    Reload,
    Status,
    TokenHealth,
    TokenState,
    Trouble,
)
from proxy.admin.history import History, Repeated, TokenEvent
from proxy.admin.masking import masked
from proxy.admin.rates import last_minute, series
from proxy.admin.readiness import Readiness
from proxy.errors import TokenError
from proxy.forwarding.record import RequestRecord
from proxy.tokens.cache import Entry
from proxy.tokens.token import Moment

TOKENS = 100
LONGEST = 128
"""Characters of what a caller has chosen."""

_URGENCY = {"missing": 0, "failing": 1, "pending": 2, "fresh": 3}


@dataclass(frozen=True, slots=True)
class Scene:
    """The proxy at a moment."""

    now: Moment
    about: About
    listeners: list[Listener]
    readiness: Readiness
    reload_failure: str
    entries: Sequence[Entry]
    institutions: frozenset[str]
    load: Load


def build(scene: Scene, history: History) -> Status:
    """Return the document."""
    urgent = sorted(scene.entries, key=lambda entry: _urgency(entry, scene.now))
    tokens = [token_state(entry, scene.now) for entry in urgent[:TOKENS]]
    errors = [_trouble(each, scene) for each in reversed(history.troubles.values())]
    minute = last_minute([*history.samples, history.counted()])
    causes = {
        "bank" if error.source == "none" else str(error.source): (error.reason, error.detail)
        for error in reversed(errors)
        if error.area == "request"
    }
    return Status(
        format=1,
        at=scene.now.wall,
        verdict=verdict.verdict(
            verdict.Scene(
                tokens=tokens,
                minute=minute,
                draining=scene.readiness.draining,
                reload_failure=scene.reload_failure,
                causes=causes,
            )
        ),
        about=scene.about,
        listeners=scene.listeners,
        readiness=Ready(
            ready=scene.readiness.is_ready,
            reasons=scene.readiness.reasons,
            warnings=scene.readiness.warnings,
        ),
        tokens=tokens,
        tokens_in_all=len(urgent),
        refreshes=[refresh(event) for event in reversed(history.events)],
        errors=errors,
        requests=[answered(record, scene) for record in reversed(history.requests)],
        load=scene.load,
        minute=minute,
        series=series(history.steps),
        reload=_reload(history),
    )


def health(entry: Entry, now: Moment) -> TokenHealth:
    """Return in one word how it stands with a token."""
    if entry.token is not None and entry.token.is_alive(now):
        return "fresh" if entry.error is None else "failing"
    return "pending" if entry.error is None else "missing"


def _urgency(entry: Entry, now: Moment) -> tuple[object, ...]:
    """Return what puts keys in their order; nothing in it changes while all is well."""
    state = health(entry, now)
    left = entry.token.expires_at if state == "failing" and entry.token is not None else 0.0
    return (_URGENCY[state], not entry.pinned, left, entry.key.institution, entry.key.kind)


def token_state(entry: Entry, now: Moment) -> TokenState:
    """Return what may be shown of a token."""
    token, error = entry.token, entry.error
    wait = entry.until_due(now)
    return TokenState(
        kind=entry.key.kind,
        institution=entry.key.institution,
        state=health(entry, now),
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
        reason=error.name, detail=error.detail, advice=advice_for(error.name), code=error.code
    )


def refresh(event: TokenEvent) -> Refresh:
    """Return what may be shown of an event in a token's life."""
    return Refresh(
        at=event.at,
        kind=event.key.kind,
        institution=event.key.institution,
        why=event.why,
        result=event.result,
        took=event.took,
        lifetime=event.lifetime,
        failures=event.failures,
        retry_in=event.retry_in,
        reason=event.reason,
        detail=event.detail,
    )


def answered(record: RequestRecord, scene: Scene) -> Answered:
    """Return what may be shown of a request."""
    shares = record.shares()
    own, upstream = (None, None) if shares is None else map(_ms, shares)
    return Answered(
        at=_wall(record.finished_at, scene.now),
        method=record.method[:LONGEST],
        path=masked(record.path, scene.institutions),
        status=record.status,
        error_source=record.source,
        reason=record.reason,
        route=str(record.route),
        institution=record.institution,
        listener=record.listener,
        transactionId=record.transaction_id[:LONGEST],
        total_ms=_ms(record.finished_at - record.started),
        own_ms=own,
        upstream_ms=upstream,
        waited_ms=_ms(record.token_wait + record.connection_wait + record.other_wait),
        replays=record.replays,
        cut=record.cut,
    )


def _trouble(trouble: Repeated, scene: Scene) -> Trouble:
    record = trouble.record
    return Trouble(
        area=trouble.area,
        source=trouble.source,
        reason=trouble.reason,
        detail=trouble.detail,
        advice=advice_for(trouble.reason, trouble.source),
        count=trouble.count,
        first_at=trouble.first_at,
        last_at=trouble.last_at,
        institution=trouble.institution,
        transactionId=record.transaction_id[:LONGEST] if record else "",
        method=record.method[:LONGEST] if record else "",
        path=masked(record.path, scene.institutions) if record else "",
        status=record.status if record else 0,
    )


def _reload(history: History) -> Reload | None:
    if history.reload is None:
        return None
    event = history.reload
    return Reload(at=event.at, taken=event.taken, why=event.why, detail=event.detail)


def _wall(monotonic: float, now: Moment) -> float:
    return now.wall - (now.monotonic - monotonic)


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 2)
