"""Log lines for events of tokens, secrets and configuration."""

from proxy.errors import kinds
from proxy.telemetry.events import (
    Event,
    InternalError,
    OperatorWarning,
    Reloaded,
    ReloadFailed,
)
from proxy.telemetry.logs.structured import structlog
from proxy.tokens.events import (
    TokenCallSlow,
    TokenConflict,
    TokenEvent,
    TokenRefreshed,
    TokenRefreshFailed,
    TokenRejected,
    TokenReleased,
    TokenUnchanged,
)
from proxy.tokens.fleet.events import (
    AcquisitionSource,
    DecryptFailed,
    StoreEvent,
    StoreStateChanged,
    TokenAcquired,
)
from proxy.tokens.token import TokenKey
from proxy.upstream.events import AddressFailed, LookedUp, LookupResult, UpstreamEvent


class EventLog:
    """Writes events as log lines."""

    def __init__(self) -> None:
        # Bound once, because structlog would otherwise assemble the logger for each line.
        self._log = structlog.get_logger().bind()

    def event(self, event: Event) -> None:
        """Write an event."""
        match event:
            case TokenRefreshed(token, seconds, refresh_age):
                self._log.info(
                    "token refreshed",
                    **_names(token.key),
                    seconds=round(seconds, 3),
                    lifetime=token.lifetime,
                    refresh_in=round(refresh_age, 1),
                )
            case TokenRefreshFailed(key, error, seconds, failures, delay):
                self._log.warning(
                    "token refresh failed",
                    **_names(key),
                    reason=error.reason.label,
                    code=error.code,
                    detail=error.operator_detail,
                    seconds=round(seconds, 3),
                    failures=failures,
                    retry_in=round(delay, 1),
                    exc_info=error.__cause__ if error.reason is kinds.TOKEN_INTERNAL else None,
                )
            case TokenRejected(token, dropped):
                self._log.warning(
                    "token rejected by the bank",
                    **_names(token.key),
                    dropped=dropped,
                )
            case TokenUnchanged() | TokenConflict() | TokenCallSlow() | TokenReleased():
                self._token_notice(event)
            case Reloaded(why):
                self._log.info("configuration reloaded", why=why)
            case ReloadFailed(why, detail, error):
                self._log.error(
                    "configuration reload failed", why=why, detail=detail, exc_info=error
                )
            case InternalError(failure):
                self._log.error("internal error", exc_info=failure)
            case OperatorWarning(text):
                self._log.warning(text)
            case (
                StoreStateChanged()
                | DecryptFailed()
                | TokenAcquired()
                | LookedUp()
                | AddressFailed()
            ):
                self._network_event(event)

    def _token_notice(self, event: TokenEvent) -> None:
        match event:
            case TokenUnchanged(token, seconds, left):
                self._log.info(
                    "token endpoint returned the same token",
                    **_names(token.key),
                    seconds=round(seconds, 3),
                    retry_in=round(left, 1),
                )
            case TokenConflict(key):
                self._log.warning(
                    "new tokens are refused soon after they were issued",
                    **_names(key),
                    detail=kinds.TOKEN_CONFLICT.remedy,
                )
            case TokenCallSlow(key, seconds, lifetime):
                self._log.warning(
                    "token call takes longer than tokens can be renewed ahead",
                    **_names(key),
                    seconds=round(seconds, 3),
                    lifetime=lifetime,
                )

            case TokenReleased(key):
                self._log.info("unused token released", **_names(key))

    def _network_event(self, event: StoreEvent | UpstreamEvent) -> None:
        match event:
            case StoreStateChanged(trouble) if trouble:
                self._log.warning(
                    "token store unavailable; fetching tokens directly",
                    reason=trouble,
                )
            case StoreStateChanged():
                self._log.info("token store available")
            case DecryptFailed(key, why):
                self._log.warning(
                    "token store entry cannot be decrypted",
                    **_names(key),
                    reason=why,
                )
            case TokenAcquired(key, source, waited) if source is not AcquisitionSource.FETCHED:
                self._log.debug(
                    "token acquired",
                    **_names(key),
                    source=source,
                    seconds=round(waited, 3),
                )
            case AddressFailed(host, address, reason, used) if used:
                self._log.warning(
                    "bank address failed; using another",
                    host=host,
                    address=address,
                    reason=reason,
                    used=used,
                )
            case LookedUp(host, LookupResult.STALE, seconds, why):
                self._log.warning(
                    "DNS look-up failed; using earlier addresses",
                    host=host,
                    detail=why,
                    seconds=round(seconds, 3),
                )


def _names(key: TokenKey) -> dict[str, str]:
    """Return the fields that name a token; ``login`` only where a listener has its own."""
    login = {"login": key.subject} if key.subject else {}
    return {"kind": key.kind, "institution": key.institution, **login}
