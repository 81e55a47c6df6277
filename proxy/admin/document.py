"""The model of ``/api/status``, which the page and ``candescent-proxy top`` read.

Times (``at``, ``…_at``) are Unix seconds, durations seconds, ``…_ms`` milliseconds. Fields may be
added; existing ones keep their meaning while ``format`` stays the same.
"""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from proxy.admin.health import State, TokenHealth
from proxy.errors import Source
from proxy.tokens.events import Trigger
from proxy.tokens.token import TokenKind

FORMAT = 1

Area = Literal["request", "token", "configuration"]


class DocumentPart(BaseModel):
    """A part of the document. Its schema is built on first use, not at the start."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


class HealthCondition(DocumentPart):
    """One statement about the proxy, in words."""

    state: State = Field(
        description="`failing`: most requests fail, or will; `warning`: something needs attention"
    )
    reason: str = Field(description="the name of the error, as in the metrics; `none` without one")
    sentence: str = Field(description="the state in one sentence")
    cause: str = Field(description="why it is not `ok`; empty if it is")
    advice: str = Field(description="what to do; empty if nothing")
    institutions: list[str] = Field(description="those concerned, at most 100; empty: all")


class HealthSummary(HealthCondition):
    """The health of the proxy: the worst condition, and the others."""

    others: list[HealthCondition] = Field(description="other problems, the worst first")


class About(DocumentPart):
    """The process and its configuration."""

    version: str = Field(description="the version of candescent-proxy")
    started_at: float = Field(description="when the process started")
    uptime: float = Field(description="seconds since then")
    upstream: str = Field(description="the base URL of the bank's API")
    institution: str = Field(description="the default institution")


class ListenerStatus(DocumentPart):
    """A listener, or the admin port."""

    name: str = Field(description="`main`, `admin`, or its name in the configuration")
    address: str = Field(description="`HOST:PORT` or `unix:/PATH`")
    tls: bool = Field(description="whether the port uses TLS")
    authenticated: bool = Field(description="whether callers must authenticate")


class Ready(DocumentPart):
    """The result of `/readyz`."""

    ready: bool = Field(description="whether requests would be served")
    reasons: list[str] = Field(description="why not, one sentence each")
    warnings: list[str] = Field(description="other problems, one sentence each")


class Failure(DocumentPart):
    """Why a token call failed."""

    reason: str = Field(description="the name of the error, as in its `type` and in the metrics")
    detail: str = Field(description="the cause, in a sentence")
    advice: str = Field(description="what to do")
    code: str | None = Field(description="the bank's error code, such as `CMN_90004`")


class TokenState(DocumentPart):
    """One token, without its text."""

    kind: TokenKind = Field(description="`v1` or `v2`")
    institution: str = Field(description="the institution of the token")
    login: str = Field(
        description="the listener whose own login it is of; empty for the institution's"
    )
    origin: str = Field(description="its base URL; empty for the configuration's own")
    state: TokenHealth = Field(
        description="`failing`: served, but the last refresh failed; `missing`: requests fail; "
        "`pending`: the first one is being fetched"
    )
    pinned: bool = Field(description="whether it is kept at all times, used or not")
    refreshing: bool = Field(description="whether a token call is running")
    issued_at: float | None = Field(description="when it was requested")
    lifetime: float | None = Field(description="its lifetime, from the bank")
    expires_at: float | None = Field(description="when it expires")
    refresh_at: float | None = Field(
        description="the next token call: the refresh, or the retry after a failure"
    )
    runway: float = Field(
        description="seconds until requests fail if no refresh succeeds; 0 if they fail now"
    )
    failures: int = Field(description="failed refreshes in a row")
    failure: Failure | None = Field(description="the last of them")


class Refresh(DocumentPart):
    """A refresh of a token, or its rejection."""

    at: float = Field(description="when it ended")
    kind: TokenKind = Field(description="`v1` or `v2`")
    institution: str = Field(description="the institution of the token")
    login: str = Field(
        description="the listener whose own login it is of; empty for the institution's"
    )
    why: Trigger = Field(
        description="why a token was fetched; `due`: before the previous one expired, "
        "`rejected`: the bank had refused it, `reload`: changed credentials were tried"
    )
    result: Literal["refreshed", "failed", "rejected"] = Field(
        description="`rejected`: no refresh; the bank refused the token on a resource call"
    )
    took: float | None = Field(None, description="duration of the token call")
    lifetime: float | None = Field(None, description="lifetime of the new token")
    failures: int = Field(0, description="failures in a row, with this one; 0 if it succeeded")
    retry_in: float | None = Field(None, description="seconds until the retry after a failure")
    reason: str = Field("", description="the name of the error; empty without one")
    detail: str = Field("", description="the cause, in a sentence; empty without an error")


class RecentError(DocumentPart):
    """Errors of one kind, counted together."""

    area: Area = Field(description="what failed")
    source: Source = Field(description="who caused it; `none` for a 5xx response of the bank")
    reason: str = Field(description="the name of the error, as in its `type` and in the metrics")
    detail: str = Field(description="what happened, in a sentence")
    advice: str = Field(description="what to do")
    count: int = Field(description="how often since the proxy started")
    first_at: float = Field(description="when it happened first")
    last_at: float = Field(description="when it happened last")
    institution: str = Field(description="institution of the last token or request with it")
    transaction_id: str = Field(
        alias="transactionId", description="of the last request with it; empty without one"
    )
    method: str = Field(description="of the last request with it; empty without one")
    path: str = Field(description="of the last request with it, masked; empty without one")
    status: int = Field(description="of the last request with it; 0 without one")


class RecentRequest(DocumentPart):
    """One request, forwarded or refused."""

    at: float = Field(description="when it finished")
    method: str = Field(description="its method")
    path: str = Field(description="without its query; account numbers and names are masked")
    status: int = Field(description="status of the response; 0 if the caller left before it")
    error_source: Source = Field(description="who caused an error; `none`: the bank's response")
    reason: str = Field(description="the name of the error; empty without one")
    route: str = Field(description="the kind of token: `v1`, `v2` or `none`")
    institution: str = Field(description="its institution; empty if it was refused before routing")
    listener: str = Field(description="its listener; `main` is the one that `listen` sets")
    transaction_id: str = Field(alias="transactionId", description="as in the log and at the bank")
    total_ms: float = Field(description="from its head to the last byte of the response")
    proxy_ms: float | None = Field(
        description="time spent in the proxy, without waits; null if sent twice or never"
    )
    upstream_ms: float | None = Field(description="time spent at the bank; null likewise")
    waited_ms: float = Field(description="wait for a token, a connection, or a user's look-up")
    replays: int = Field(description="how often it was sent again")
    aborted: bool = Field(description="whether the caller left or the response broke off")


class Load(DocumentPart):
    """The load at this moment."""

    in_flight: int = Field(description="requests being served")
    caller_connections: int = Field(description="open connections of callers")
    upstream_connections: int = Field(description="open connections to the bank")
    upstream_idle: int = Field(description="unused connections to the bank")


class Minute(DocumentPart):
    """The last minute."""

    seconds: float = Field(description="the time that is covered, at most 60")
    requests: int = Field(description="requests finished")
    per_second: float = Field(description="requests per second")
    caller: int = Field(description="requests refused because of the caller")
    token: int = Field(description="requests that failed without a token")
    upstream: int = Field(description="requests without a response from the bank")
    proxy: int = Field(description="requests that failed in the proxy")
    bank: int = Field(description="requests to which the bank responded with a 5xx")
    p50_ms: float | None = Field(description="median duration, estimated from a histogram")
    p99_ms: float | None = Field(description="99th percentile of the duration, likewise")
    proxy_p50_ms: float | None = Field(description="median time spent in the proxy, likewise")
    proxy_p99_ms: float | None = Field(description="99th percentile of it, likewise")


class Series(DocumentPart):
    """The last quarter of an hour, oldest first; all lists have the same length."""

    step: float = Field(description="seconds per interval")
    at: list[float] = Field(description="when each interval ended")
    per_second: list[float] = Field(description="requests per second")
    caller: list[float] = Field(description="requests refused because of the caller, per second")
    token: list[float] = Field(description="requests that failed without a token, per second")
    upstream: list[float] = Field(description="requests without a response, per second")
    proxy: list[float] = Field(description="requests that failed in the proxy, per second")
    bank: list[float] = Field(description="5xx responses of the bank, per second")
    p50_ms: list[float | None] = Field(description="median duration; null without requests")
    p99_ms: list[float | None] = Field(description="99th percentile of it; null likewise")


class Reload(DocumentPart):
    """The last reload of the configuration."""

    at: float = Field(description="when it happened")
    success: bool = Field(description="whether the new configuration is in use")
    why: str = Field(description="`file`, `signal` or `admin`")
    detail: str = Field(description="why it failed; empty if it succeeded")


class Status(DocumentPart):
    """The whole document."""

    format: Literal[1] = Field(description="version of the document's format")
    at: float = Field(description="when it was made, by the proxy's clock")
    health: HealthSummary
    about: About
    listeners: list[ListenerStatus] = Field(description="the listeners; the admin port is last")
    readiness: Ready
    tokens: list[TokenState] = Field(description="failing ones first; at most 1000")
    tokens_in_all: int = Field(description="number of all tokens")
    refreshes: list[Refresh] = Field(description="newest first; at most 100")
    errors: list[RecentError] = Field(description="newest first; at most 50")
    requests: list[RecentRequest] = Field(description="newest first; at most 100")
    load: Load
    minute: Minute
    series: Series
    reload: Reload | None = Field(description="the last reload; null if there was none")
