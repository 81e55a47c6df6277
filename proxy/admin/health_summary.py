"""Summarizes the proxy's health in one sentence, with cause and advice for a problem."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from proxy.admin.document import HealthSummary, Minute, State, TokenState
from proxy.errors import kinds

SOME = 0.05
"""The share of a minute's failed requests from which the state is ``warning``."""
MANY = 0.5
"""The share from which it is ``failing``."""
ENOUGH = 3
"""The least number of failed requests for either, so that a single one does not count."""


@dataclass(frozen=True, slots=True)
class HealthInput:
    """The input of ``summarize``.

    ``causes`` has the last error of each source (the names in ``Minute``): detail and remedy.
    """

    tokens: Sequence[TokenState]
    minute: Minute
    draining: bool
    reload_failure: str
    causes: Mapping[str, tuple[str, str]] = field(default_factory=dict)


def summarize(source: HealthInput) -> HealthSummary:
    """Return the most severe problem, or that there is none."""
    if source.draining:
        return _summary(
            "stopping", "Shutting down: running requests are finished, new ones are refused."
        )
    return (
        _without_token(source)
        or _failing_requests(source, "failing", MANY)
        or _failing_refreshes(source)
        or _failing_requests(source, "warning", SOME)
        or _not_reloaded(source)
        or _healthy(source)
    )


def _without_token(source: HealthInput) -> HealthSummary | None:
    missing = [token for token in source.tokens if token.state in ("missing", "pending")]
    pinned = [token for token in missing if token.pinned]
    for token in pinned:
        if token.failure is not None:
            sentence = f"Requests fail: there is no {_token_name(token)}."
            return _summary("failing", sentence, token.failure.detail, token.failure.advice)
    if pinned:
        return _summary("starting", f"Starting: fetching the {_token_name(pinned[0])}.")
    for token in missing:
        if token.failure is not None:
            sentence = (
                f"Working, except for institution {token.institution}: no {_token_name(token)}."
            )
            return _summary("warning", sentence, token.failure.detail, token.failure.advice)
    return None


def _failing_refreshes(source: HealthInput) -> HealthSummary | None:
    failing = [token for token in source.tokens if token.state == "failing"]
    if not failing:
        return None
    token = min(failing, key=lambda token: token.runway)
    sentence = (
        f"Working, but the {_token_name(token)} cannot be renewed: requests fail in "
        f"{duration(token.runway)} unless a refresh succeeds."
    )
    failure = token.failure
    assert failure is not None
    return _summary("warning", sentence, failure.detail, failure.advice)


def _failing_requests(source: HealthInput, state: State, share: float) -> HealthSummary | None:
    minute = source.minute
    for source_name, failed, words in (
        ("upstream", minute.upstream, "the bank did not respond to"),
        ("bank", minute.bank, "the bank responded with a 5xx to"),
        ("proxy", minute.proxy, "the proxy refused"),
        ("token", minute.token, "there was no token for"),
    ):
        if failed >= ENOUGH and failed >= share * minute.requests:
            start = "Requests fail" if state == "failing" else "Working, but not for all"
            sentence = f"{start}: {words} {failed} of {minute.requests} in the last minute."
            return _summary(state, sentence, *source.causes.get(source_name, ()))
    return None


def _not_reloaded(source: HealthInput) -> HealthSummary | None:
    if not source.reload_failure:
        return None
    sentence = "Working with the previous configuration: the reload failed."
    return _summary("warning", sentence, source.reload_failure, kinds.RELOAD_FAILED.remedy)


def _healthy(source: HealthInput) -> HealthSummary:
    if source.minute.requests:
        return _summary("ok", "Working: tokens are fresh and the bank responds.")
    return _summary("ok", "Ready: tokens are fresh. No requests in the last minute.")


def _token_name(token: TokenState) -> str:
    return f"{token.kind.upper()} token for institution {token.institution}"


def _summary(
    state: State,
    sentence: str,
    cause: str = "",
    advice: str = "",
) -> HealthSummary:
    return HealthSummary(state=state, sentence=sentence, cause=cause, advice=advice)


def duration(seconds: float) -> str:
    """Return a duration in words: ``45 s``, ``12 min``, ``3 h 20 min``."""
    total_seconds = max(int(seconds), 0)
    if total_seconds < 120:
        return f"{total_seconds} s"
    minutes, hours, days = total_seconds // 60, total_seconds // 3600, total_seconds // 86_400
    if hours < 1:
        return f"{minutes} min"
    if days < 2:
        return f"{hours} h {minutes % 60} min" if minutes % 60 else f"{hours} h"
    return f"{days} days"
