"""Reload of a changed configuration, or of changed secret files, without a restart.

The whole configuration is read again, verified with real token calls, and only then used. A failed
reload changes nothing, is reported, and is tried again after another change or after a while.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import TypeVar

from proxy.config.model import Config
from proxy.errors import ConfigError, TokenError
from proxy.tasks import in_thread
from proxy.telemetry.events import EventSink, Reloaded, ReloadFailed
from proxy.tokens.credentials import Logins

RETRY = 60.0
"""Seconds after which a failed reload is tried again without another change."""

RETRY_SOON = 5.0
"""The same for a reload that could not be verified, because the bank was unreachable."""

READ_TIME = 10.0
"""Seconds that reading the files may take, such as those on a network share."""

LoadConfig = Callable[[], tuple[Config, Logins]]
ApplyConfig = Callable[[Config, Logins], Awaitable[None]]
T = TypeVar("T")
Fingerprint = dict[Path, tuple[int, int, int] | None]


def fingerprint(files: Iterable[Path]) -> Fingerprint:
    """Return a value that changes when a file is written or replaced, also behind a symlink."""
    return {file: _stat(file) for file in files}


def _stat(file: Path) -> tuple[int, int, int] | None:
    try:
        stat = os.stat(file)  # noqa: PTH116 - follows symlinks, as reading does
    except OSError:
        return None
    return (stat.st_mtime_ns, stat.st_size, stat.st_ino)


async def _look(files: Iterable[Path]) -> Fingerprint:
    """Return the fingerprint without blocking the loop, however long it takes."""
    return await in_thread(lambda: fingerprint(files), None)


async def read(function: Callable[[], T]) -> T:
    """Return the result of a function that reads files, from a thread.

    Raises ``ConfigError`` after ``READ_TIME``.
    """
    try:
        return await in_thread(function, READ_TIME)
    except TimeoutError as error:
        raise ConfigError(
            [f"a file of the configuration could not be read within {READ_TIME:g} s"]
        ) from error


async def watch(file: Path, interval: float, on_change: Callable[[], None]) -> None:
    """Check a file every ``interval`` seconds until cancelled; call ``on_change`` on a change."""
    known = await _look([file])
    while True:
        await asyncio.sleep(interval)
        before, known = known, await _look([file])
        if known != before:
            on_change()


class Reloader:
    """Watches the files of a configuration and ``extra_files``, and reloads on a change.

    ``interval`` is in seconds; 0 watches nothing. ``changes_logins`` says whether logins differ
    from those in use. ``failure`` is why the last reload failed, empty if it succeeded.
    """

    def __init__(
        self,
        load: LoadConfig,
        apply: ApplyConfig,
        files: Iterable[Path],
        *,
        extra_files: Iterable[Path] = (),
        emit: EventSink,
        interval: float,
        changes_logins: Callable[[Logins], bool] = lambda _logins: False,
    ) -> None:
        self._load = load
        self._apply = apply
        self._extra_files = tuple(extra_files)
        self._files = (*self._extra_files, *files)
        self._emit = emit
        self._interval = interval
        self._changes_logins = changes_logins
        self._applied = fingerprint(self._files)
        self._lock = asyncio.Lock()
        self._retry_delay = RETRY
        self._refused: tuple[Config, Logins, Fingerprint, float, TokenError] | None = None
        self.failure = ""

    async def run(self) -> None:
        """Watch until cancelled. A change is applied when two looks found the files the same.

        The first part of a file that is being written may be valid, without its rules.
        """
        if not self._interval:
            return
        known, waited = self._applied, 0.0
        now = known
        while True:
            await asyncio.sleep(self._interval)
            before, now = now, await _look(self._files)
            waited += self._interval
            if now != before:
                continue
            # After a failure a reload is due even if the files are those in use again.
            is_settled = now == self._applied and not self.failure
            if is_settled or (now == known and waited < self._retry_delay):
                continue
            known, waited = now, 0.0
            await self.reload("file")

    async def reload(self, why: str) -> bool:
        """Reload the configuration; return whether it succeeded.

        ``why`` is ``file``, ``signal`` or ``admin``.
        """
        async with self._lock:
            self._retry_delay = RETRY
            has_new_login = False
            try:
                current = await read(lambda: fingerprint(self._files))
                config, logins = await read(self._load)
                has_new_login = self._changes_logins(logins)
                await self._try(config, logins)
            except ConfigError as error:
                return self._failed(ReloadFailed(why, "; ".join(error.errors)))
            except TokenError as error:
                self._retry_delay = RETRY if error.reason.is_refusal else RETRY_SOON
                return self._failed(
                    ReloadFailed(
                        why,
                        error.operator_detail,
                        is_refused_by_bank=True,
                        has_new_login=has_new_login,
                    )
                )
            except Exception as error:  # noqa: BLE001 - one failure must not end all reloading
                return self._failed(
                    ReloadFailed(why, "internal error; the log has the cause", error)
                )
            await self._watch(config, current)
            self.failure = ""
            self._emit(Reloaded(why, has_new_login))
            return True

    async def _try(self, config: Config, logins: Logins) -> None:
        """Apply the configuration, unless the bank has refused the same within ``RETRY``.

        Raises ``ConfigError``, and ``TokenError`` again for what was refused.
        """
        now = asyncio.get_running_loop().time()
        keys = await _look(
            file
            for origin in config.origins
            for file in (origin.upstream.certificate_file, origin.upstream.key_file)
            if file is not None
        )
        if self._refused is not None:
            *same, refused_at, refusal = self._refused
            if same == [config, logins, keys] and now - refused_at < RETRY:
                raise refusal
        try:
            await self._apply(config, logins)
        except TokenError as error:
            if error.reason.is_refusal:
                self._refused = (config, logins, keys, asyncio.get_running_loop().time(), error)
            raise
        self._refused = None

    async def _watch(self, config: Config, current: Fingerprint) -> None:
        self._files = (*self._extra_files, *config.files())
        # A change since the files were read must be detected by the next check.
        self._applied = await _look(self._files) | {
            file: stat for file, stat in current.items() if file in self._files
        }

    def _failed(self, event: ReloadFailed) -> bool:
        self.failure = event.detail
        self._emit(event)
        return False
