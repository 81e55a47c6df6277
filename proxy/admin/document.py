"""What ``/api/status`` answers, as a model: the page and ``candescent-proxy top`` read it.

Moments (``at``, ``…_at``) are Unix seconds, durations seconds; what ends in ``_ms`` is in
milliseconds. Fields are added over time; one that is here keeps its meaning while ``format`` stays
the same.
"""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from proxy.errors import Source
from proxy.tokens.events import Trigger
from proxy.tokens.token import TokenKind

FORMAT = 1

State = Literal["ok", "warning", "failing", "starting", "stopping"]
TokenHealth = Literal["fresh", "failing", "missing", "pending"]
Area = Literal["request", "token", "configuration"]


class DocumentPart(BaseModel):
    """A part of the document. Its schema is made when it is first asked for, not at the start."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


class HealthSummary(DocumentPart):
    """Whether it works, for a person."""

    state: State = Field(
        description="`warning`: requests are served, but something wants attention"
    )
    sentence: str = Field(description="the state of things in one sentence")
    cause: str = Field(description="why it is not `ok`; empty if it is")
    advice: str = Field(description="what to do; empty where there is nothing to do")


class About(DocumentPart):
    """Which proxy this is."""

    version: str = Field(description="the version that runs")
    started_at: float = Field(description="when it started")
    uptime: float = Field(description="for how long it has been running")
    upstream: str = Field(description="the base URL of the bank's API")
    institution: str = Field(description="the default institution")


class ListenerStatus(DocumentPart):
    """Where it listens."""

    name: str = Field(description="`main`, `admin`, or its name in the configuration")
    address: str = Field(description="`HOST:PORT` or `unix:/PATH`")
    tls: bool = Field(description="whether the port speaks TLS")
    authenticated: bool = Field(description="whether whoever calls must show who they are")


class Ready(DocumentPart):
    """What `/readyz` says."""

    ready: bool = Field(description="whether requests would be served")
    reasons: list[str] = Field(description="why not, a sentence each")
    warnings: list[str] = Field(description="what else an operator should know")


class Failure(DocumentPart):
    """Why a token could not be had."""

    reason: str = Field(description="the name of the error, as in its `type` and in the metrics")
    detail: str = Field(description="the cause, in a sentence")
    advice: str = Field(description="what to do")
    code: str | None = Field(description="the bank's own code, such as `CMN_90004`")


class TokenState(DocumentPart):
    """One token; never its text."""

    kind: TokenKind = Field(description="the generation")
    institution: str = Field(description="whose")
    state: TokenHealth = Field(
        description="`failing`: served, but the last refresh failed; `missing`: requests fail; "
        "`pending`: none yet, the first is on its way"
    )
    pinned: bool = Field(description="whether it is kept at all times, used or not")
    refreshing: bool = Field(description="whether the bank is being asked right now")
    issued_at: float | None = Field(description="when it was asked for")
    lifetime: float | None = Field(description="what the bank said it lives")
    expires_at: float | None = Field(description="when it dies")
    refresh_at: float | None = Field(
        description="when the bank is asked next: the refresh, or the retry after a failure"
    )
    runway: float = Field(description="how long until requests fail if nothing changes; 0: they do")
    failures: int = Field(description="failed refreshes in a row")
    failure: Failure | None = Field(description="the last of them")


class Refresh(DocumentPart):
    """One event in the life of a token."""

    at: float = Field(description="when it ended")
    kind: TokenKind = Field(description="the generation")
    institution: str = Field(description="whose")
    why: Trigger = Field(
        description="why the bank was asked; `due`: ahead of the end of the one before, "
        "`rejected`: the bank had refused it, `reload`: changed credentials were tried"
    )
    result: Literal["refreshed", "failed", "rejected"] = Field(
        description="`rejected`: no refresh; the bank refused the token on a resource call"
    )
    took: float | None = Field(None, description="how long the bank took")
    lifetime: float | None = Field(None, description="how long the new token lives")
    failures: int = Field(0, description="which failure in a row this is; 0 if it is none")
    retry_in: float | None = Field(None, description="after a failure, the wait for the next try")
    reason: str = Field("", description="the name of the error; empty where there is none")
    detail: str = Field("", description="the cause, in a sentence; empty where there is none")


class RecentError(DocumentPart):
    """Errors of one name, counted together."""

    area: Area = Field(description="what failed")
    source: Source = Field(description="whose error; `none` for a 5xx of the bank's own")
    reason: str = Field(description="the name of the error, as in its `type` and in the metrics")
    detail: str = Field(description="what happened, in a sentence")
    advice: str = Field(description="what to do")
    count: int = Field(description="how often since the proxy started")
    first_at: float = Field(description="the first time")
    last_at: float = Field(description="the last time")
    institution: str = Field(description="whose token or request the last one was")
    transaction_id: str = Field(
        alias="transactionId", description="of the last one; empty if it was no request"
    )
    method: str = Field(description="of the last one")
    path: str = Field(description="of the last one, masked")
    status: int = Field(description="of the last one; 0 if it was no request")


class RecentRequest(DocumentPart):
    """One request, forwarded or refused."""

    at: float = Field(description="when it was over")
    method: str = Field(description="as sent")
    path: str = Field(description="without its query; account numbers and names are masked")
    status: int = Field(description="0: the caller went away before there was one")
    error_source: Source = Field(description="whose error; `none`: the bank's own answer")
    reason: str = Field(description="the name of the error; empty where there is none")
    route: str = Field(description="which token it took: `v1`, `v2` or `none`")
    institution: str = Field(description="for whom; empty where it was refused before")
    listener: str = Field(description="where it came in; `main` is the one that `listen` sets")
    transaction_id: str = Field(alias="transactionId", description="as in the log and at the bank")
    total_ms: float = Field(description="from its head to the last byte of its answer")
    proxy_ms: float | None = Field(
        description="what the proxy added, without the waits; null where that cannot be told"
    )
    upstream_ms: float | None = Field(description="what the bank took, likewise")
    waited_ms: float = Field(description="for a token, a connection, or a user's look-up")
    replays: int = Field(description="how often it was sent again")
    aborted: bool = Field(description="whether the caller left or the response broke off")


class Load(DocumentPart):
    """What is going on now."""

    in_flight: int = Field(description="requests being served")
    caller_connections: int = Field(description="open connections of callers")
    upstream_connections: int = Field(description="open connections to the bank")
    upstream_idle: int = Field(description="those of them unused")


class Minute(DocumentPart):
    """The last minute."""

    seconds: float = Field(description="how much of it is known, at most 60")
    requests: int = Field(description="requests finished")
    per_second: float = Field(description="the rate of that")
    caller: int = Field(description="of them, errors of callers")
    token: int = Field(description="of them, without a token")
    upstream: int = Field(description="of them, not answered by the bank")
    proxy: int = Field(description="of them, errors of our own")
    bank: int = Field(description="of them, answered by the bank with a 5xx")
    p50_ms: float | None = Field(description="half were faster; estimated from a histogram")
    p99_ms: float | None = Field(description="all but one in a hundred were faster; likewise")
    proxy_p50_ms: float | None = Field(
        description="half of what the proxy added was less; likewise"
    )
    proxy_p99_ms: float | None = Field(description="all but one in a hundred; likewise")


class Series(DocumentPart):
    """The last quarter of an hour, oldest first: a column each, all of one length."""

    step: float = Field(description="seconds that one place stands for")
    at: list[float] = Field(description="when each place ends")
    per_second: list[float] = Field(description="requests")
    caller: list[float] = Field(description="errors of callers, a second")
    token: list[float] = Field(description="requests without a token, a second")
    upstream: list[float] = Field(description="requests the bank did not answer, a second")
    proxy: list[float] = Field(description="errors of our own, a second")
    bank: list[float] = Field(description="5xx answers of the bank, a second")
    p50_ms: list[float | None] = Field(description="null where there were no requests")
    p99_ms: list[float | None] = Field(description="likewise")


class Reload(DocumentPart):
    """The last time that a changed configuration was read."""

    at: float = Field(description="when")
    success: bool = Field(description="whether it is in force")
    why: str = Field(description="`file`, `signal` or `admin`")
    detail: str = Field(description="why it failed; empty if it did not")


class Status(DocumentPart):
    """The whole document."""

    format: Literal[1] = Field(description="of this document")
    at: float = Field(description="when it was made, by the proxy's clock")
    verdict: HealthSummary
    about: About
    listeners: list[ListenerStatus] = Field(description="where it listens, the admin port last")
    readiness: Ready
    tokens: list[TokenState] = Field(description="those in trouble first; at most 100")
    tokens_in_all: int = Field(description="how many there are")
    refreshes: list[Refresh] = Field(description="newest first; at most 100")
    errors: list[RecentError] = Field(description="newest first; at most 50")
    requests: list[RecentRequest] = Field(description="newest first; at most 100")
    load: Load
    minute: Minute
    series: Series
    reload: Reload | None = Field(description="null: not since the start")
