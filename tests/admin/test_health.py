"""The health: states and sentences from tokens and outcomes, the worst first."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest

from proxy.admin.health import (
    STATES,
    Condition,
    HealthInput,
    Outcome,
    TokenInput,
    Traffic,
    assess,
    duration,
)
from proxy.errors import ErrorKind, kinds
from proxy.tokens.token import TokenKey, TokenKind

OURS, OTHER = "00016", "00145"
FRESH = TokenInput(TokenKey(TokenKind.V2, OURS), "fresh", pinned=True, runway=750.0)
CONNECT, TIMEOUT = kinds.UPSTREAM_CONNECT, kinds.UPSTREAM_FIRST_BYTE_TIMEOUT

Run = tuple[int, ErrorKind | None, str]
"""So many requests of an institution with this outcome."""


def served(count: int, institution: str = OURS) -> Run:
    """Return so many requests without an error."""
    return (count, None, institution)


def failed(count: int, kind: ErrorKind, institution: str = OURS) -> Run:
    """Return so many requests with this error."""
    return (count, kind, institution)


def traffic(*runs: Run, spacing: float = 1.0, kept: int = 100) -> Traffic:
    """Return the traffic of these requests, oldest first, ``spacing`` seconds apart."""
    outcomes = [(kind, name) for count, kind, name in runs for _ in range(count)]
    recent = [
        Outcome(spacing * (len(outcomes) - at), name, kind)
        for at, (kind, name) in enumerate(outcomes)
    ]
    return Traffic(
        requests=Counter(name for _, name in outcomes),
        failures=Counter((kind, name) for kind, name in outcomes if kind is not None),
        has_bank_response=any(kind is None or not kind.status for kind, _ in outcomes),
        recent=recent[-kept:],
        details={kinds.UPSTREAM_CONNECT: "127.0.0.1:9 refuses connections."},
    )


def token(
    state: Any, institution: str = OTHER, error: ErrorKind | None = None, **more: Any
) -> TokenInput:
    """Return a token in this state."""
    key = TokenKey(more.pop("kind", TokenKind.V2), institution)
    return TokenInput(key, state, error=error, detail=error.cause if error else "", **more)


def health(*runs: Run, tokens: Sequence[TokenInput] = (FRESH,), **more: Any) -> HealthInput:
    """Return the input of ``assess``."""
    return HealthInput(tokens=tokens, traffic=traffic(*runs), **more)


REFUSED = token("missing", OURS, kinds.TOKEN_BAD_CLIENT, pinned=True)
UNKNOWN = [
    token("missing", f"0014{number}", kinds.TOKEN_BAD_INSTITUTION) for number in (5, 6, 7, 8, 9)
]

TABLE: list[tuple[HealthInput, str, str, str]] = [
    # The proxy works, starts or stops.
    (health(), "ok", "none", "Ready: tokens are fresh. No requests in the last minute."),
    (health(served(20)), "ok", "none", "Working: tokens are fresh and the bank responds."),
    (
        health(failed(2, kinds.RESERVED)),
        *("ok", "none", "Ready: tokens are fresh. No request went to the bank in the last minute."),
    ),
    (
        health(tokens=[token("pending", OURS, pinned=True, is_new=True)]),
        *("starting", "none", "Starting: fetching the V2 token for institution 00016."),
    ),
    (
        health(tokens=[FRESH, token("pending", is_new=True)]),
        *("ok", "none", "Ready: tokens are fresh. No requests in the last minute."),
    ),
    (
        health(failed(30, CONNECT), tokens=[REFUSED], draining=True),
        *("stopping", "none"),
        "Shutting down: running requests are finished; send new ones elsewhere.",
    ),
    # Requests fail.
    (
        health(failed(30, kinds.TOKEN_REFUSED)),
        *("failing", "token-refused"),
        "Requests fail: the bank refuses our tokens (30 of 30 in the last minute).",
    ),
    (
        health(failed(30, kinds.BANK_DENIED)),
        *("failing", "bank-denied"),
        (
            "Requests fail: the bank refuses the application or its user (30 of 30 in the last "
            "minute)."
        ),
    ),
    (
        health(failed(30, kinds.BANK_THROTTLED)),
        *("failing", "bank-throttled"),
        "Requests fail: the bank's rate limit is exceeded (30 of 30 in the last minute).",
    ),
    (
        health(failed(30, kinds.BANK_ERROR)),
        *("failing", "bank-error"),
        "Requests fail: the bank responds with errors (30 of 30 in the last minute).",
    ),
    (
        health(failed(30, kinds.OVERLOADED)),
        *("failing", "overloaded"),
        "Requests fail: the proxy cannot serve them (30 of 30 in the last minute).",
    ),
    (
        health(served(20), failed(12, CONNECT)),
        *("failing", "upstream-connect"),
        (
            "Requests fail: no response from the bank (the last 12 in a row, 12 of 32 in the last "
            "minute)."
        ),
    ),
    (
        health(served(100), failed(3, CONNECT)),
        *("failing", "upstream-connect"),
        (
            "Requests fail: no response from the bank (the last 3 in a row, 3 of 103 in the last "
            "minute)."
        ),
    ),
    # The first ones of a shaky bank, and too few to say anything.
    (
        health(served(3), failed(2, CONNECT)),
        *("ok", "none", "Working: tokens are fresh and the bank responds."),
    ),
    (
        health(failed(12, CONNECT), served(20)),
        *("warning", "upstream-connect"),
        "Some requests fail: no response from the bank (12 of 32 in the last minute).",
    ),
    (
        health(failed(4, CONNECT), served(96)),
        *("ok", "none", "Working: tokens are fresh and the bank responds."),
    ),
    (
        health(failed(8, kinds.BANK_DENIED), served(20)),
        *("ok", "none", "Working: tokens are fresh and the bank responds."),
    ),
    # What the proxy refuses says nothing about what the bank answers.
    (
        health(*[failed(3, kinds.RESERVED, ""), failed(1, kinds.TOKEN_REFUSED)] * 10),
        *("failing", "token-refused"),
        (
            "Requests fail: the bank refuses our tokens (the last 10 in a row, 10 of 40 in the "
            "last minute)."
        ),
    ),
    (
        health(failed(3, kinds.BODY_TOO_LARGE, OTHER), failed(9, CONNECT, OTHER), served(30)),
        *("warning", "upstream-connect"),
        (
            "Requests of institution 00145 fail: no response from the bank (9 of 12 in the last "
            "minute)."
        ),
    ),
    # Each kind of error has its own count.
    (
        health(served(20), failed(10, kinds.BANK_ERROR), failed(3, CONNECT)),
        *("failing", "bank-error"),
        "Requests fail: the bank responds with errors (10 of 33 in the last minute).",
    ),
    (
        health(failed(9, kinds.UPSTREAM_TRUNCATED)),
        *("failing", "upstream-truncated"),
        "Requests fail: no complete response from the bank (9 of 9 in the last minute).",
    ),
    # Only some institutions fail.
    (
        health(served(30), failed(5, CONNECT, OTHER), served(20)),
        *("warning", "upstream-connect"),
        (
            "Requests of institution 00145 fail: no response from the bank (5 of 5 in the last "
            "minute)."
        ),
    ),
    (
        health(*(failed(3, CONNECT, f"0014{each}") for each in range(5)), served(90)),
        *("warning", "upstream-connect"),
        (
            "Requests of 5 institutions (00140, 00141, 00142 and 2 more) fail: no response from "
            "the bank (15 of 15 in the last minute)."
        ),
    ),
    (
        health(served(50, OTHER), failed(12, CONNECT)),
        *("failing", "upstream-connect"),
        (
            "Requests of institution 00016 fail: no response from the bank (12 of 12 in the last "
            "minute)."
        ),
    ),
    # The proxy refuses requests.
    (
        health(failed(20, kinds.RESERVED, "")),
        *("warning", "reserved"),
        "The proxy refuses requests (20 of 20 in the last minute).",
    ),
    (
        health(failed(4, kinds.METHOD, ""), served(96)),
        *("ok", "none", "Working: tokens are fresh and the bank responds."),
    ),
    # Tokens.
    (
        health(tokens=[REFUSED]),
        *("failing", "token-bad-client"),
        "Requests fail: there is no V2 token for institution 00016.",
    ),
    (
        health(
            tokens=[
                REFUSED,
                token("missing", OURS, kinds.TOKEN_BAD_CLIENT, kind=TokenKind.V1, pinned=True),
            ]
        ),
        *("failing", "token-bad-client"),
        "Requests fail: there is no V1 or V2 token for institution 00016.",
    ),
    (
        health(served(9), tokens=[FRESH, UNKNOWN[0]]),
        *("warning", "token-bad-institution"),
        "Requests of institution 00145 fail: there is no V2 token.",
    ),
    (
        health(served(9), tokens=[FRESH, *UNKNOWN]),
        *("warning", "token-bad-institution"),
        "Requests of 5 institutions (00145, 00146, 00147 and 2 more) fail: there is no V2 token.",
    ),
    (
        health(
            served(9), failed(20, kinds.TOKEN_BAD_INSTITUTION, OTHER), tokens=[FRESH, UNKNOWN[0]]
        ),
        *("failing", "token-bad-institution"),
        "Requests fail: there is no V2 token for institution 00145.",
    ),
    (
        health(failed(20, kinds.TOKEN_BAD_INSTITUTION, OTHER)),
        *("failing", "token-bad-institution"),
        "Requests fail: there is no token (20 of 20 in the last minute).",
    ),
    (
        health(
            tokens=[
                token("failing", OURS, kinds.TOKEN_SERVER, runway=750.0),
                token("failing", OTHER, kinds.TOKEN_SERVER, runway=4000.0),
            ]
        ),
        *("warning", "token-server"),
        (
            "The V2 token for 2 institutions (00016, 00145) cannot be renewed: requests "
            "fail in 12 min unless a refresh succeeds."
        ),
    ),
    (
        health(
            tokens=[
                FRESH,
                token("fresh", slow_call=(4.25, 6.0)),
                token("fresh", OURS, slow_call=(3.0, 6.0)),
            ]
        ),
        *("warning", "token-slow"),
        ("Requests wait for tokens: a token call takes 4.2 s, and its token lives for 6 s."),
    ),
    (
        health(tokens=[FRESH, token("fresh", is_in_conflict=True)]),
        *("warning", "token-conflict"),
        "Something else fetches tokens for institution 00145 and ends ours.",
    ),
    # The configuration.
    (
        health(served(9), reload_failure="listen: changed"),
        *("warning", "reload-failed"),
        "The previous configuration stays in use: the reload failed.",
    ),
]


@pytest.mark.parametrize(("source", "state", "reason", "sentence"), TABLE)
def test_states_and_sentences(source: HealthInput, state: str, reason: str, sentence: str) -> None:
    """One sentence for each, and for a problem a cause and what to do."""
    found = assess(source)[0]
    assert (found.state, found.reason, found.sentence) == (state, reason, sentence)
    assert bool(found.cause) == bool(found.advice) == (reason != "none")


def test_every_state_is_in_the_table() -> None:
    """None is left out."""
    assert {state for _, state, _, _ in TABLE} == set(STATES)


def test_cause_is_the_last_detail() -> None:
    """Or the kind's, where there is none."""
    assert assess(health(failed(9, CONNECT)))[0].cause == "127.0.0.1:9 refuses connections."
    assert assess(health(failed(9, TIMEOUT)))[0].cause == TIMEOUT.cause
    reload = assess(health(reload_failure="listen: changed"))[0]
    assert (reload.cause, reload.advice) == ("listen: changed", kinds.RELOAD_FAILED.remedy)


def listed(source: HealthInput) -> list[tuple[str, str]]:
    """Return state and reason of each condition."""
    return [(found.state, found.reason) for found in assess(source)]


def test_worst_is_first() -> None:
    """A missing token of one institution is less than failing requests of the default one."""
    found = listed(health(failed(30, CONNECT), tokens=[FRESH, UNKNOWN[0]], reload_failure="No."))
    assert found[0] == ("failing", "upstream-connect")
    assert set(found[1:]) == {("warning", "token-bad-institution"), ("warning", "reload-failed")}


def test_most_traffic_is_first() -> None:
    """Among conditions of the same state."""
    runs = [failed(1, kind) for _ in range(5) for kind in (TIMEOUT, CONNECT, CONNECT)]
    assert listed(health(*runs)) == [("failing", CONNECT.name), ("failing", TIMEOUT.name)]


def test_kinds_are_told_apart() -> None:
    """Two causes have two remedies, although responses name both ``token-unreachable``."""
    runs = [failed(1, kind) for _ in range(5) for kind in (CONNECT, kinds.UPSTREAM_RESOLVE)]
    found = assess(health(*runs))
    assert {each.advice for each in found} == {CONNECT.remedy, kinds.UPSTREAM_RESOLVE.remedy}


def test_rare_kinds_are_left_out() -> None:
    """A few failures beside many of another kind say nothing."""
    for rare, often in ((1, 9), (5, 90)):
        source = health(failed(rare, TIMEOUT), failed(often, CONNECT), served(10 * often))
        assert listed(source)[0] == ("warning", CONNECT.name)
        assert len(listed(source)) == 1
    source = health(failed(5, TIMEOUT), failed(9, CONNECT), served(100))
    assert listed(source) == [("warning", CONNECT.name), ("warning", TIMEOUT.name)]


def test_start_comes_before_warnings() -> None:
    """But after what fails."""
    start = token("pending", OURS, pinned=True, is_new=True)
    assert listed(health(tokens=[start], reload_failure="No."))[0] == ("starting", "none")
    assert listed(health(failed(9, CONNECT), tokens=[start]))[0] == ("failing", CONNECT.name)


def test_counts_say_what_recent_requests_do_not() -> None:
    """An institution of few requests among many others' is seen in the minute's counts."""
    source = HealthInput([FRESH], traffic(failed(5, CONNECT, OTHER), served(500), spacing=0.01))
    found = assess(source)[0]
    assert (found.state, found.institutions) == ("warning", (OTHER,))
    assert found.sentence.startswith("Requests of institution 00145 fail: ")


def test_institution_that_works_again_is_not_named() -> None:
    """Its latest requests count more than its minute."""
    runs = (failed(9, CONNECT, OTHER), served(7, OTHER), served(90))
    found = assess(HealthInput([FRESH], traffic(*runs, spacing=0.5)))[0]
    assert (found.state, found.institutions) == ("warning", ())


@pytest.mark.parametrize("spacing", [0.001, 0.1, 1.0, 10.0])
def test_outage_is_seen_within_five_seconds_or_three_requests(spacing: float) -> None:
    """Whatever the traffic."""
    before, since = int(55 / spacing), max(3, int(5 / spacing))
    for is_over in (False, True):
        runs = [served(before), failed(since, CONNECT)]
        (found, *_) = assess(
            HealthInput([FRESH], traffic(*runs[::-1] if is_over else runs, spacing=spacing))
        )
        assert (found.state == "failing") != is_over


@pytest.mark.parametrize("spacing", [0.001, 0.1, 1.0, 10.0])
def test_five_failures_in_a_row_are_an_outage(spacing: float) -> None:
    """Even where many requests were served in the same seconds."""
    runs = (served(60), failed(3, CONNECT), failed(2, kinds.UPSTREAM_CLOSED))
    found = assess(HealthInput([FRESH], traffic(*runs, spacing=spacing)))
    assert {each.state for each in found} == {"failing"}
    assert "(3 of 65 in the last minute)" in found[0].sentence
    (last, *_) = assess(HealthInput([FRESH], traffic(*runs, served(1), spacing=0.001)))
    assert last.state == "warning"


def test_cause_that_has_passed_is_not_said_of_present_requests() -> None:
    """The bank was gone, is back, and refuses tokens."""
    source = health(failed(12, CONNECT), served(20), failed(8, kinds.TOKEN_REFUSED))
    assert [each.sentence for each in assess(source)] == [
        (
            "Requests fail: the bank refuses our tokens (the last 8 in a row, 8 of 40 in the last "
            "minute)."
        ),
        "Some requests fail: no response from the bank (12 of 40 in the last minute).",
    ]


def test_nothing_is_said_of_refused_requests_without_an_institution() -> None:
    """They are no institution's."""
    found = assess(health(failed(20, kinds.INTERNAL, ""), served(9)))[0]
    assert (found.state, found.institutions) == ("warning", ())


def test_condition_of_no_problem_is_empty() -> None:
    """It has no reason, cause and advice."""
    assert Condition("ok", "Working.") == Condition("ok", "Working.", "none", "", "")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        *((-3, "0 s"), (0.9, "0 s"), (119, "119 s"), (120, "2 min"), (3599, "59 min")),
        *((3600, "1 h"), (3660, "1 h 1 min"), (86_400, "24 h"), (172_800, "2 days")),
    ],
)
def test_duration(seconds: float, text: str) -> None:
    """In one or two units."""
    assert duration(seconds) == text
