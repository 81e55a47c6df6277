"""Builds what ``/api/status`` answers, out of what the proxy knows at a moment. No I/O."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from proxy import __version__
from proxy.admin import verdict
from proxy.admin.advice import advice_for
from proxy.admin.document import (
    About,
    Answered,
    Failure,
    Listener,
    Load,
    Minute,
    Ready,
    Refresh,
    Reload,
    Series,
    Status,
    TokenHealth,
    TokenState,
    Trouble,
)
from proxy.admin.history import STEP, History, Repeated, Sample, TokenEvent
from proxy.admin.masking import masked
from proxy.admin.readiness import Readiness
from proxy.admin.totals import Totals, quantile
from proxy.config import Address, Config
from proxy.errors import TokenError
from proxy.facts import RequestRecord
from proxy.tokens.cache import Entry
from proxy.tokens.token import Moment

TOKENS = 100
LONGEST = 128
"""Characters of what a caller has chosen."""
MINUTE = 60.0

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


def about(config: Config, started: Moment, now: Moment) -> About:
    """Return which proxy this is."""
    return About(
        version=__version__,
        started_at=started.wall,
        uptime=now.since(started),
        upstream=config.url.geturl(),
        institution=config.institution_id,
    )


def listeners(config: Config, data: Address, admin: Address) -> list[Listener]:
    """Return where a proxy listens that is bound to these addresses."""
    callers = config.callers
    return [
        Listener(
            name="callers",
            address=str(data),
            tls=callers.certificate_file is not None,
            authenticated=callers.are_authenticated,
        ),
        Listener(name="admin", address=str(admin), tls=False, authenticated=False),
    ]


def build(scene: Scene, history: History) -> Status:
    """Return the document."""
    tokens = sorted(
        (token_state(entry, scene.now) for entry in scene.entries),
        key=lambda token: (_URGENCY[token.state], not token.pinned, token.runway),
    )
    errors = [_trouble(each, scene) for each in reversed(history.troubles.values())]
    samples = [*history.samples]
    minute = last_minute([*samples, history.counted()])
    last = next((error for error in errors if error.area == "request"), None)
    return Status(
        format=1,
        at=scene.now.wall,
        verdict=verdict.verdict(
            verdict.Scene(
                tokens=tokens,
                minute=minute,
                draining=scene.readiness.draining,
                reload_failure=scene.reload_failure,
                source=last.source if last else "",
                reason=last.reason if last else "",
                detail=last.detail if last else "",
            )
        ),
        about=scene.about,
        listeners=scene.listeners,
        readiness=Ready(
            ready=scene.readiness.is_ready,
            reasons=scene.readiness.reasons,
            warnings=scene.readiness.warnings,
        ),
        tokens=tokens[:TOKENS],
        tokens_in_all=len(tokens),
        refreshes=[refresh(event) for event in reversed(history.events)],
        errors=errors,
        requests=[answered(record, scene) for record in reversed(history.requests)],
        load=scene.load,
        minute=minute,
        series=series(samples),
        reload=_reload(history),
    )


def token_state(entry: Entry, now: Moment) -> TokenState:
    """Return what may be shown of a token."""
    token, error = entry.token, entry.error
    alive = token is not None and token.is_alive(now)
    state: TokenHealth
    if alive:
        state = "fresh" if error is None else "failing"
    else:
        state = "pending" if error is None else "missing"
    wait = entry.until_due(now)
    return TokenState(
        kind=entry.key.kind,
        institution=entry.key.institution,
        state=state,
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


def last_minute(samples: Sequence[Sample]) -> Minute:
    """Add up what came in the last minute, or in as much of it as is known."""
    newest = samples[-1]
    oldest = next(each for each in samples if _between(each, newest) <= MINUTE)
    came, seconds = newest.totals.since(oldest.totals), _between(oldest, newest)
    return Minute(
        seconds=seconds,
        requests=came.requests,
        per_second=_rate(came.requests, seconds),
        caller=came.caller,
        token=came.token,
        upstream=came.upstream,
        proxy=came.proxy,
        bank=came.bank,
        p50_ms=_quantile_ms(came, 0.5),
        p99_ms=_quantile_ms(came, 0.99),
    )


def series(samples: Sequence[Sample]) -> Series:
    """Return what came between each two samples."""
    steps = [
        (later.at.wall, later.totals.since(earlier.totals), _between(earlier, later))
        for earlier, later in pairwise(samples)
    ]
    return Series(
        step=STEP,
        at=[at for at, _, _ in steps],
        per_second=[_rate(came.requests, seconds) for _, came, seconds in steps],
        caller=[_rate(came.caller, seconds) for _, came, seconds in steps],
        token=[_rate(came.token, seconds) for _, came, seconds in steps],
        upstream=[_rate(came.upstream, seconds) for _, came, seconds in steps],
        proxy=[_rate(came.proxy, seconds) for _, came, seconds in steps],
        bank=[_rate(came.bank, seconds) for _, came, seconds in steps],
        p50_ms=[_quantile_ms(came, 0.5) for _, came, _ in steps],
        p99_ms=[_quantile_ms(came, 0.99) for _, came, _ in steps],
    )


def _rate(count: int, seconds: float) -> float:
    return round(count / seconds, 3) if seconds > 0 else 0.0


def _quantile_ms(came: Totals, share: float) -> float | None:
    seconds = quantile(came.buckets, share)
    return None if seconds is None else _ms(seconds)


def _reload(history: History) -> Reload | None:
    if history.reload is None:
        return None
    event = history.reload
    return Reload(at=event.at, taken=event.taken, why=event.why, detail=event.detail)


def _between(earlier: Sample, later: Sample) -> float:
    return later.at.monotonic - earlier.at.monotonic


def _wall(monotonic: float, now: Moment) -> float:
    return now.wall - (now.monotonic - monotonic)


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 2)
