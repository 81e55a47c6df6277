"""Checks of the token store: whether it can be reached, read and written."""

from collections.abc import AsyncIterator

from proxy.cli.doctor import remedies
from proxy.cli.doctor.results import CheckResult, ok, problem
from proxy.config.model import Config
from proxy.tokens.fleet.events import StoreFailure

_CAUSES = {
    StoreFailure.UNREACHABLE: remedies.STORE_UNREACHABLE,
    StoreFailure.TIMEOUT: remedies.STORE_TIMEOUT,
    StoreFailure.TLS: remedies.STORE_TLS,
    StoreFailure.LOGIN: remedies.STORE_LOGIN,
    StoreFailure.FORBIDDEN: remedies.STORE_FORBIDDEN,
    StoreFailure.READ_ONLY: remedies.STORE_READ_ONLY,
    StoreFailure.FULL: remedies.STORE_FULL,
}

_RECORD = "doctor"
"""The name of a test record, which expires after a second."""


async def check(config: Config) -> AsyncIterator[CheckResult]:
    """Check the store, if one is configured."""
    if config.store.url is None:
        return
    from proxy.runtime import build_fleet  # noqa: PLC0415 - imports what only a store needs
    from proxy.tokens.fleet.store import StoreError  # noqa: PLC0415 - likewise

    where = config.store.url
    store = build_fleet.store(config, lambda _: None)
    try:
        await store.read(_RECORD, [_RECORD])
        await store.reject(_RECORD, _RECORD, 1.0)
    except StoreError as error:
        cause = _CAUSES.get(error.reason, remedies.STORE_FAILING)
        seconds = f"{config.store.timeout:g}"
        yield problem("store", cause, store=where, seconds=seconds, prefix=config.store.prefix)
    else:
        yield ok("store", f"{where} can be read and written.")
    finally:
        await store.close()
