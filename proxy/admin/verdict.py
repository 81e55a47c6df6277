"""PURE: is it working? One sentence, with the cause and the advice when it is not."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from proxy.admin.advice import advice_for
from proxy.admin.document import Minute, State, TokenState, Verdict

SOME = 0.05
"""The share of a minute's requests that may fail before the page warns."""
MANY = 0.5
"""And before it says that it does not work."""
ENOUGH = 3
"""Requests that must have failed; one that did is no state of things."""


@dataclass(frozen=True, slots=True)
class Scene:
    """What the verdict is about.

    ``causes`` are the last error of each who may be at fault, as in ``Minute``: name and sentence.
    """

    tokens: Sequence[TokenState]
    minute: Minute
    draining: bool
    reload_failure: str
    causes: Mapping[str, tuple[str, str]] = field(default_factory=dict)


def verdict(scene: Scene) -> Verdict:
    """Return the worst of what there is to say."""
    if scene.draining:
        return _said("stopping", "Shutting down: what runs is finished, new work is refused.")
    return (
        _without_token(scene)
        or _unanswered(scene, "failing", MANY)
        or _unrenewed(scene)
        or _unanswered(scene, "warning", SOME)
        or _not_reloaded(scene)
        or _well(scene)
    )


def _without_token(scene: Scene) -> Verdict | None:
    missing = [token for token in scene.tokens if token.state in ("missing", "pending")]
    pinned = [token for token in missing if token.pinned]
    for token in pinned:
        if token.failure is not None:
            sentence = f"Requests fail: there is no {_named(token)}."
            return _said("failing", sentence, token.failure.detail, token.failure.advice)
    if pinned:
        return _said("starting", f"Starting: the {_named(pinned[0])} is on its way.")
    for token in missing:
        if token.failure is not None:
            sentence = f"Working, except for institution {token.institution}: no {_named(token)}."
            return _said("warning", sentence, token.failure.detail, token.failure.advice)
    return None


def _unrenewed(scene: Scene) -> Verdict | None:
    failing = [token for token in scene.tokens if token.state == "failing"]
    if not failing:
        return None
    token = min(failing, key=lambda token: token.runway)
    sentence = (
        f"Working, but the {_named(token)} cannot be renewed: requests fail in "
        f"{duration(token.runway)} unless that changes."
    )
    failure = token.failure
    assert failure is not None
    return _said("warning", sentence, failure.detail, failure.advice)


def _unanswered(scene: Scene, state: State, share: float) -> Verdict | None:
    minute = scene.minute
    for whose, failed, words in (
        ("upstream", minute.upstream, "the bank did not answer"),
        ("bank", minute.bank, "the bank answered with an error of its own to"),
        ("proxy", minute.proxy, "the proxy refused"),
        ("token", minute.token, "there was no token for"),
    ):
        if failed >= ENOUGH and failed >= share * minute.requests:
            start = "Requests fail" if state == "failing" else "Working, but not for all"
            sentence = f"{start}: {words} {failed} of {minute.requests} in the last minute."
            reason, detail = scene.causes.get(whose, ("", ""))
            return _said(state, sentence, detail, advice_for(reason) if reason else "")
    return None


def _not_reloaded(scene: Scene) -> Verdict | None:
    if not scene.reload_failure:
        return None
    sentence = "Working with the configuration from before: the changed one was not taken."
    return _said("warning", sentence, scene.reload_failure, advice_for("reload"))


def _well(scene: Scene) -> Verdict:
    if scene.minute.requests:
        return _said("ok", "Working: tokens are fresh and the bank answers.")
    return _said("ok", "Ready: tokens are fresh. No requests in the last minute.")


def _named(token: TokenState) -> str:
    return f"{token.kind.upper()} token for institution {token.institution}"


def _said(
    state: State,
    sentence: str,
    cause: str = "",
    advice: str = "",
) -> Verdict:
    return Verdict(state=state, sentence=sentence, cause=cause, advice=advice)


def duration(seconds: float) -> str:
    """Return a time as a person says it: ``45 s``, ``12 min``, ``3 h 20 min``."""
    whole = max(int(seconds), 0)
    if whole < 120:
        return f"{whole} s"
    minutes, hours, days = whole // 60, whole // 3600, whole // 86_400
    if hours < 1:
        return f"{minutes} min"
    if days < 2:
        return f"{hours} h {minutes % 60} min" if minutes % 60 else f"{hours} h"
    return f"{days} days"
