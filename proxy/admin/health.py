"""Decides how healthy the proxy is, from its tokens and the outcomes of the last minute.

Everything that says so reads it: the status page, ``top``, ``/readyz``, ``doctor``, the metric and
the alerts. The worst condition comes first, among equals the one of the most traffic.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Literal, get_args

from proxy.errors import ErrorKind, Source, kinds
from proxy.tokens.events import slow_token
from proxy.tokens.token import TokenKey

State = Literal["ok", "warning", "failing", "starting", "stopping"]
STATES: tuple[State, ...] = get_args(State)
TokenHealth = Literal["fresh", "failing", "missing", "pending"]

NO_REASON = "none"
SOME = 0.05
"""The share of failed requests in a minute from which the state is ``warning``."""
MANY = 0.5
"""The share of the latest requests from which it is ``failing``."""
ENOUGH = 3
"""The least number of failed requests for either, so that a single one does not count."""
NOTABLE = 0.1
"""The share of failed requests from which a kind of error beside the most frequent is listed."""
LATEST_SECONDS = 5.0
"""The latest requests are those of so many seconds, and at least so many as follows. Averages of a
minute would hide an outage that has just begun."""
LATEST_REQUESTS = 5
LISTED = 3
"""Institutions that a sentence names."""

_RANKS = {"failing": 0, "starting": 1, "warning": 2}
_RARELY_OURS = frozenset({kinds.BANK_DENIED})
"""What single users meet too; it counts only as the outcome of most requests."""

_WORDS = {
    kinds.TOKEN_REFUSED: "the bank refuses our tokens",
    kinds.BANK_DENIED: "the bank refuses the application or its user",
    kinds.BANK_THROTTLED: "the bank's rate limit is exceeded",
    kinds.BANK_ERROR: "the bank responds with errors",
    kinds.UPSTREAM_IDLE_TIMEOUT: "no complete response from the bank",
    kinds.UPSTREAM_TOTAL_TIMEOUT: "no complete response from the bank",
    kinds.UPSTREAM_TRUNCATED: "no complete response from the bank",
    kinds.UPSTREAM_MALFORMED: "no valid response from the bank",
    kinds.UPSTREAM_CROSS_TALK: "no valid response from the bank",
}
_WORDS_BY_SOURCE = {
    Source.UPSTREAM: "no response from the bank",
    Source.TOKEN: "there is no token",
    Source.PROXY: "the proxy cannot serve them",
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """A finished request: ``age`` in seconds, and the kind of its error, None without one."""

    age: float
    institution: str
    kind: ErrorKind | None = None


@dataclass(frozen=True, slots=True)
class Traffic:
    """The finished requests of the last minute, without those that callers aborted.

    ``requests`` counts them by institution (empty if refused before it was known), ``failures``
    those with an error. ``recent`` has the last ones, oldest first, ``details`` the last sentence
    about an error of each kind. ``has_bank_response``: the bank has responded to one.
    """

    requests: Mapping[str, int] = field(default_factory=dict)
    failures: Mapping[tuple[ErrorKind, str], int] = field(default_factory=dict)
    has_bank_response: bool = False
    recent: Sequence[Outcome] = ()
    details: Mapping[ErrorKind, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TokenInput:
    """A token. ``is_new``: there has been none yet; ``error`` is the last, if not overcome.

    ``slow_call``: the last token call took so many seconds, too many for the token's lifetime, the
    second number. ``is_in_conflict``: another program's token calls end its tokens.
    """

    key: TokenKey
    state: TokenHealth
    pinned: bool = False
    is_new: bool = False
    runway: float = 0.0
    error: ErrorKind | None = None
    detail: str = ""
    slow_call: tuple[float, float] | None = None
    is_in_conflict: bool = False


@dataclass(frozen=True, slots=True)
class HealthInput:
    """The input of ``assess``."""

    tokens: Sequence[TokenInput] = ()
    traffic: Traffic = field(default_factory=Traffic)
    draining: bool = False
    reload_failure: str = ""


@dataclass(frozen=True, slots=True)
class Condition:
    """One statement about the proxy: a sentence, and for a problem its cause and advice.

    ``reason`` is the name of a kind of error, or ``none``. ``institutions`` are those concerned,
    none for all; ``share`` is their share of the traffic.
    """

    state: State
    sentence: str
    reason: str = NO_REASON
    cause: str = ""
    advice: str = ""
    institutions: tuple[str, ...] = ()
    share: float = 0.0


def assess(source: HealthInput) -> tuple[Condition, ...]:
    """Return the conditions, the worst first; at least one."""
    if source.draining:
        sentence = "Shutting down: running requests are finished; send new ones elsewhere."
        return (Condition("stopping", sentence), *_reload_conditions(source.reload_failure))
    minute = _Minute(source.traffic)
    tokens = [*_token_conditions(source, minute)]
    explained = {condition.reason for condition in tokens}
    found = [
        *tokens,
        *(each for each in _request_conditions(minute) if each.reason not in explained),
        *_slow_conditions(source.tokens),
        *_conflict_conditions(source.tokens),
        *_reload_conditions(source.reload_failure),
        *_start_conditions(source.tokens),
    ]
    found.sort(key=lambda condition: (_RANKS[condition.state], -condition.share))
    return tuple(found) or (_healthy(source),)


# Requests, by the kind of their error.


class _Minute:
    """What the traffic of a minute says, counted by kind of error."""

    def __init__(self, traffic: Traffic) -> None:
        self.traffic = traffic
        self.total = sum(traffic.requests.values())
        self.by_kind: dict[ErrorKind, dict[str, int]] = defaultdict(dict)
        for (kind, institution), count in traffic.failures.items():
            self.by_kind[kind][institution] = count
        self.counts = {kind: sum(counted.values()) for kind, counted in self.by_kind.items()}
        # However many requests are refused for the callers' own errors, they say nothing about
        # the others.
        self.recent = [
            each for each in traffic.recent if each.kind is None or not _is_callers(each.kind)
        ]
        self.failing = _failing_kinds(self.recent)
        self.broken = {name: self._failing_kinds_of(name) for name in traffic.requests if name}
        common = {
            kind: count
            for kind, count in self.counts.items()
            if not _is_callers(kind) and kind not in _RARELY_OURS
        }
        accepted = self.total - sum(self.counts[kind] for kind in self.counts if _is_callers(kind))
        self.frequent = {
            kind
            for kind, count in common.items()
            if count == max(common.values())
            or (count >= ENOUGH and count >= NOTABLE * sum(common.values()))
        }
        if not _is_some(sum(common.values()), accepted):
            self.frequent = set()

    def _failing_kinds_of(self, institution: str) -> set[ErrorKind]:
        """Return the kinds of error with which most requests of an institution fail.

        They are those of the latest requests if these are known. What failed before has another
        cause.
        """
        own = [each for each in self.recent if each.institution == institution]
        if len(own) >= LATEST_REQUESTS:
            return _failing_kinds(own)
        counted = {kind: names.get(institution, 0) for kind, names in self.by_kind.items()}
        refused = sum(count for kind, count in counted.items() if _is_callers(kind))
        failed = sum(counted.values()) - refused
        if not _is_most(failed, self.traffic.requests[institution] - refused):
            return set()
        return {kind for kind, count in counted.items() if count and not _is_callers(kind)}


def _request_conditions(minute: _Minute) -> Iterator[Condition]:
    for kind, counted in minute.by_kind.items():
        affected = {
            name: count for name, count in counted.items() if kind in minute.broken.get(name, ())
        }
        if _is_callers(kind):
            if _is_some(minute.counts[kind], minute.total):
                yield _some_requests(kind, "The proxy refuses requests", minute)
        elif kind in minute.failing:
            yield _failing_requests(kind, counted, minute, "failing")
        elif affected:
            yield _failing_requests(kind, affected, minute, "warning")
        elif kind in minute.frequent:
            yield _some_requests(kind, "Some requests fail", minute)


def _failing_requests(
    kind: ErrorKind, counted: Mapping[str, int], minute: _Minute, state: State
) -> Condition:
    """Return that most requests fail: all, or those of the institutions in ``counted``."""
    requests = minute.traffic.requests
    names = tuple(sorted(name for name in counted if name))
    is_everybody = len(names) == len([name for name in requests if name])
    concerned = () if is_everybody or "" in counted else names
    count, total = sum(counted.values()), minute.total
    if concerned:
        total = sum(requests[name] for name in concerned)
    row = 0 if concerned else _row(kind, minute.recent)
    in_a_row = f"the last {row} in a row, " if ENOUGH <= row < total else ""
    who = f" of {_listed(concerned)}" if concerned else ""
    sentence = f"Requests{who} fail: {_words(kind)} ({in_a_row}{_of(count, total)})."
    return _about(kind, state, sentence, minute, concerned)


def _some_requests(kind: ErrorKind, words: str, minute: _Minute) -> Condition:
    count = _of(minute.counts[kind], minute.total)
    what = "" if _is_callers(kind) else f": {_words(kind)}"
    return _about(kind, "warning", f"{words}{what} ({count}).", minute)


def _about(
    kind: ErrorKind,
    state: State,
    sentence: str,
    minute: _Minute,
    institutions: tuple[str, ...] = (),
) -> Condition:
    return Condition(
        state,
        sentence,
        kind.name,
        minute.traffic.details.get(kind, kind.cause),
        kind.remedy,
        institutions,
        minute.counts[kind] / minute.total,
    )


def _failing_kinds(outcomes: Sequence[Outcome]) -> set[ErrorKind]:
    """Return the kinds of error among the latest outcomes, if most of these have one.

    At a high rate, an outage of a second is a small part of them; so a row at the end is enough.
    """
    row = len([*takewhile(lambda each: each.kind is not None, reversed(outcomes))])
    if row >= LATEST_REQUESTS:
        return {each.kind for each in outcomes[-row:] if each.kind is not None}
    first = max(len(outcomes) - LATEST_REQUESTS, 0)
    latest = [
        each.kind for at, each in enumerate(outcomes) if at >= first or each.age <= LATEST_SECONDS
    ]
    failed = [kind for kind in latest if kind is not None]
    return set(failed) if _is_most(len(failed), len(latest)) else set()


def _row(kind: ErrorKind, outcomes: Sequence[Outcome]) -> int:
    """Return how many of the last requests failed in a row, all with this kind of error."""
    return len([*takewhile(lambda each: each.kind is kind, reversed(outcomes))])


def _is_callers(kind: ErrorKind) -> bool:
    """Whether it is the caller's own error, for which the proxy refused the request."""
    return kind.source is Source.CALLER


def _is_some(failed: int, total: int) -> bool:
    return failed >= ENOUGH and failed >= SOME * total


def _is_most(failed: int, total: int) -> bool:
    return failed >= ENOUGH and failed >= MANY * total


def _words(kind: ErrorKind) -> str:
    return _WORDS.get(kind) or _WORDS_BY_SOURCE[kind.source]


def _of(count: int, total: int) -> str:
    return f"{count} of {total} in the last minute"


def _listed(institutions: Sequence[str]) -> str:
    """Return institutions in words; of many, their number and the first."""
    if len(institutions) == 1:
        return f"institution {institutions[0]}"
    names = ", ".join(institutions[:LISTED])
    rest = len(institutions) - LISTED
    more = f" and {rest} more" if rest > 0 else ""
    return f"{len(institutions)} institutions ({names}{more})"


# Tokens, by their state and the kind of their error.


def _token_conditions(source: HealthInput, minute: _Minute) -> Iterator[Condition]:
    groups: dict[tuple[str, ErrorKind], list[TokenInput]] = defaultdict(list)
    for token in source.tokens:
        if token.error is not None and token.state in ("missing", "failing"):
            is_required = token.pinned or token.error in minute.failing
            is_needed = token.state == "missing" and is_required
            groups["required" if is_needed else token.state, token.error].append(token)
    for (state, kind), tokens in groups.items():
        yield _token_condition(state, kind, tokens, minute)


def _token_condition(
    state: str, kind: ErrorKind, tokens: Sequence[TokenInput], minute: _Minute
) -> Condition:
    institutions = tuple(sorted({token.key.institution for token in tokens}))
    versions, names = _versions(tokens, "or"), _listed(institutions)
    if state == "required":
        sentence = f"Requests fail: there is no {versions} token for {names}."
    elif state == "missing":
        sentence = f"Requests of {names} fail: there is no {versions} token."
    else:
        left = duration(min(token.runway for token in tokens))
        sentence = (
            f"The {versions} token for {names} cannot be renewed: requests fail in {left} unless "
            "a refresh succeeds."
        )
    requests = minute.traffic.requests
    share = sum(requests.get(each, 0) for each in institutions) / max(minute.total, 1)
    return Condition(
        "failing" if state == "required" else "warning",
        sentence,
        kind.name,
        tokens[0].detail,
        kind.remedy,
        institutions,
        share,
    )


def _versions(tokens: Sequence[TokenInput], conjunction: str) -> str:
    return f" {conjunction} ".join(sorted({token.key.kind.value.upper() for token in tokens}))


def _slow_conditions(tokens: Sequence[TokenInput]) -> Iterator[Condition]:
    calls = {token.key.institution: token.slow_call for token in tokens if token.slow_call}
    if calls:
        seconds, lifetime = max(calls.values(), key=lambda call: call[0] / call[1])
        sentence = f"Requests wait for tokens: {slow_token(seconds, lifetime)}"
        yield _of_tokens(kinds.TOKEN_SLOW, sentence, calls)


def _conflict_conditions(tokens: Sequence[TokenInput]) -> Iterator[Condition]:
    names = sorted({token.key.institution for token in tokens if token.is_in_conflict})
    if names:
        sentence = f"Something else fetches tokens for {_listed(names)} and ends ours."
        yield _of_tokens(kinds.TOKEN_CONFLICT, sentence, names)


def _of_tokens(kind: ErrorKind, sentence: str, institutions: Iterable[str]) -> Condition:
    return Condition(
        "warning", sentence, kind.name, kind.cause, kind.remedy, tuple(sorted(institutions))
    )


def _reload_conditions(failure: str) -> Iterator[Condition]:
    if failure:
        kind = kinds.RELOAD_FAILED
        sentence = "The previous configuration stays in use: the reload failed."
        yield Condition("warning", sentence, kind.name, failure, kind.remedy)


def _start_conditions(tokens: Sequence[TokenInput]) -> Iterator[Condition]:
    first = [each for each in tokens if each.pinned and each.is_new and each.state == "pending"]
    if first:
        names = _listed(sorted({each.key.institution for each in first}))
        yield Condition(
            "starting", f"Starting: fetching the {_versions(first, 'and')} token for {names}."
        )


def _healthy(source: HealthInput) -> Condition:
    if source.traffic.has_bank_response:
        return Condition("ok", "Working: tokens are fresh and the bank responds.")
    none = "No request went to the bank" if source.traffic.requests else "No requests"
    return Condition("ok", f"Ready: tokens are fresh. {none} in the last minute.")


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
