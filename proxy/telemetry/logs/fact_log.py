"""Facts as log lines: what happens to tokens, secrets and configuration."""

from proxy.telemetry.events import Event, Reloaded, ReloadFailed
from proxy.telemetry.logs.structured import structlog
from proxy.tokens.events import TokenRefreshed, TokenRefreshFailed, TokenRejected, TokenReleased
from proxy.tokens.fleet.events import (
    AcquisitionSource,
    DecryptFailed,
    StoreEvent,
    StoreStateChanged,
    TokenAcquired,
)


class EventLog:
    """Writes facts as log lines."""

    def __init__(self) -> None:
        # Bound once, or structlog would put the logger together anew for each line.
        self._log = structlog.get_logger().bind()

    def event(self, event: Event) -> None:
        """Write one event of a token's life."""
        match event:
            case TokenRefreshed(token, seconds, refresh_age):
                self._log.info(
                    "token refreshed",
                    kind=token.key.kind,
                    institution=token.key.institution,
                    seconds=round(seconds, 3),
                    lifetime=token.lifetime,
                    refresh_in=round(refresh_age, 1),
                )
            case TokenRefreshFailed(key, error, seconds, failures, delay):
                self._log.warning(
                    "token refresh failed",
                    kind=key.kind,
                    institution=key.institution,
                    reason=error.reason,
                    code=error.code,
                    detail=error.detail,
                    seconds=round(seconds, 3),
                    failures=failures,
                    retry_in=round(delay, 1),
                    exc_info=error.__cause__ if error.reason == "internal" else None,
                )
            case TokenRejected(token, dropped):
                self._log.warning(
                    "bank refused a token",
                    kind=token.key.kind,
                    institution=token.key.institution,
                    dropped=dropped,
                )
            case Reloaded(why):
                self._log.info("configuration taken", why=why)
            case ReloadFailed(why, detail, error):
                self._log.error(
                    "changed configuration not taken", why=why, detail=detail, exc_info=error
                )
            case TokenReleased(key):
                self._log.info("unused token released", kind=key.kind, institution=key.institution)
            case StoreStateChanged() | DecryptFailed() | TokenAcquired():
                self._store_event(event)

    def _store_event(self, event: StoreEvent) -> None:
        match event:
            case StoreStateChanged(trouble) if trouble:
                self._log.warning(
                    "the fleet's store is of no use, each proxy asks the bank for itself",
                    reason=trouble,
                )
            case StoreStateChanged():
                self._log.info("the fleet's store is of use")
            case DecryptFailed(key, why):
                self._log.warning(
                    "an entry in the fleet's store does not open",
                    kind=key.kind,
                    institution=key.institution,
                    reason=why,
                )
            case TokenAcquired(key, origin, waited) if origin is not AcquisitionSource.FETCHED:
                self._log.debug(
                    "token by way of the fleet",
                    kind=key.kind,
                    institution=key.institution,
                    origin=origin,
                    seconds=round(waited, 3),
                )

    def warn(self, text: str) -> None:
        """Write what an operator should know."""
        self._log.warning(text)

    def crash(self, error: BaseException) -> None:
        """Write down a mistake of our own, with where it happened."""
        self._log.error("internal error", exc_info=error)
