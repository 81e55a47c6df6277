"""Refresh tokens: the newest of each key, in memory, and in a file to survive a restart.

A refresh returns a new refresh token and invalidates the old one, so only the newest is kept.
"""

import asyncio
import errno
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from proxy.errors import ConfigError
from proxy.tokens.secret_files import write_private
from proxy.tokens.token import Instant, TokenKey

if sys.platform != "win32":
    import fcntl


@dataclass(frozen=True, slots=True)
class StoredRefreshToken:
    """A refresh token. ``expires_at`` is Unix seconds; ``subject`` is ``Login.subject``.

    ``address`` is the base URL of the bank that issued it, and that alone gets it; empty in files
    that do not say it, for any.
    """

    text: str = field(repr=False)
    expires_at: float
    subject: str = ""
    address: str = ""


Known = dict[TokenKey, StoredRefreshToken]

LOCK_TIMEOUT = 5.0
"""Seconds to wait for another process that writes the file; it takes milliseconds."""

LOCK_POLL = 0.02
"""Seconds between two tries to lock the file."""


class RefreshTokens:
    """Keeps refresh tokens, with a ``file`` also there, readable for its owner only.

    The file is read each time, so that the proxy notices a ``candescent-proxy login`` in another
    process. A token that could not be written is kept in memory and takes precedence over the
    file's. ``by_subject`` keep those of listeners with a login of their own, each with a file of
    its own. Raises ``ConfigError`` for a file of another user, whose login it would be.
    """

    def __init__(
        self,
        clock: Callable[[], Instant],
        file: Path | None = None,
        by_subject: "Mapping[str, RefreshTokens] | None" = None,
    ) -> None:
        self._by_subject = by_subject or {}
        self._clock = clock
        self._file = file
        self._known: Known = {}
        self._forgotten: dict[TokenKey, str] = {}
        if file is not None and _is_foreign(file):
            raise ConfigError(
                [f"refresh_token_file: {file} belongs to another user; delete it and log in again"]
            )
        self._file_state = self._read()
        self._locks: dict[TokenKey, asyncio.Lock] = {}

    def lock(self, key: TokenKey) -> asyncio.Lock:
        """Return the lock of the calls that use the refresh token of ``key``."""
        return self._locks.setdefault(key, asyncio.Lock())

    def current(self, key: TokenKey, subject: str = "", address: str = "") -> str:
        """Return the live refresh token of ``subject`` at ``address``; empty if there is none."""
        if key.subject in self._by_subject:
            return self._by_subject[key.subject].current(key, subject, address)
        known = self._read().get(key)
        if known is None or known.text == self._forgotten.get(key):
            known = self._known.get(key)
        if known is None or known.expires_at <= self._clock().wall:
            return ""
        is_theirs = known.subject == subject and known.address in ("", address)
        return known.text if is_theirs else ""

    def keep(
        self, key: TokenKey, text: str, lifetime: float, subject: str = "", address: str = ""
    ) -> None:
        """Replace the refresh token. Raises ``ConfigError`` if the file cannot be written."""
        if key.subject in self._by_subject:
            self._by_subject[key.subject].keep(key, text, lifetime, subject, address)
            return
        expires_at = self._clock().wall + lifetime
        stored = self._known[key] = StoredRefreshToken(text, expires_at, subject, address)
        self._forgotten[key] = self._in_file(key)
        self._change(lambda tokens: tokens.update({key: stored}))

    def forget(self, key: TokenKey, text: str) -> None:
        """Drop an invalid refresh token, unless a newer one has replaced it.

        Raises ``ConfigError`` if the file cannot be written; it is dropped from memory anyway.
        """
        if key.subject in self._by_subject:
            self._by_subject[key.subject].forget(key, text)
            return
        if key in self._known and self._known[key].text == text:
            del self._known[key]
        if self._in_file(key) == text:
            self._forgotten[key] = text
            self._change(lambda tokens: _drop(tokens, key, text))

    def updated_keys(self) -> set[TokenKey]:
        """Return the keys whose token in the file another process has changed.

        Changed since the last call, or since the start.
        """
        before, self._file_state = self._file_state, self._read()
        changed = {key for key, token in self._file_state.items() if token != before.get(key)}
        own = {key for key in changed if self._file_state[key] != self._known.get(key)}
        return own.union(*(others.updated_keys() for others in self._by_subject.values()))

    def _in_file(self, key: TokenKey) -> str:
        stored = self._read().get(key)
        return "" if stored is None else stored.text

    @property
    def has_file(self) -> bool:
        """Whether changes are written to a file, for which other processes are waited for."""
        return self._file is not None or any(one.has_file for one in self._by_subject.values())

    def _change(self, change: Callable[[Known], None]) -> None:
        """Read, change and write the file under a lock."""
        if self._file is None:
            return
        try:
            with file_lock(self._file):
                tokens = self._read()
                change(tokens)
                write_private(self._file, json.dumps(_document(tokens)))
        except OSError as error:
            raise ConfigError(
                [f"refresh_token_file: {self._file} cannot be written ({error.strerror})"]
            ) from error

    def _read(self) -> Known:
        if self._file is None:
            return {}
        try:
            if _is_foreign(self._file):
                return {}
            document = json.loads(self._file.read_text(encoding="ascii"))
        except (OSError, ValueError, RecursionError):
            return {}
        entries = document.items() if isinstance(document, dict) else ()
        return dict(filter(None, (_entry(name, entry) for name, entry in entries)))


def _is_foreign(file: Path) -> bool:
    """Whether a file is of neither this process's user nor root."""
    try:
        return sys.platform != "win32" and file.stat().st_uid not in (0, os.geteuid())
    except OSError:
        return False


def _drop(tokens: Known, key: TokenKey, text: str) -> None:
    if key in tokens and tokens[key].text == text:
        del tokens[key]


def _document(tokens: Known) -> dict[str, dict[str, str | float]]:
    return {key.text: asdict(token) for key, token in tokens.items()}


def _entry(name: str, entry: object) -> tuple[TokenKey, StoredRefreshToken] | None:
    match entry:
        case {
            "text": str(text),
            "expires_at": float() | int() as expires_at,
            "subject": str(subject),
            **more,
        }:
            address = str(more.get("address", ""))
        case _:
            return None
    try:
        return TokenKey.parse(name), StoredRefreshToken(text, expires_at, subject, address)
    except ValueError:
        return None


@contextmanager
def file_lock(file: Path) -> Iterator[None]:
    """Exclude other processes that lock the same file, such as a login beside a proxy.

    The lock is on a file of its own beside it, which nobody else may open: another user could
    hold one on the directory for ever. Raises ``OSError``, also after ``LOCK_TIMEOUT`` seconds.
    """
    if sys.platform == "win32":
        yield
        return
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    handle = os.open(file.with_name(f".{file.name}.lock"), flags, 0o600)
    try:
        if os.fstat(handle).st_uid != os.geteuid():
            raise PermissionError(errno.EPERM, "its lock file belongs to another user")
        _wait_for_lock(handle)
        yield
    finally:
        os.close(handle)


def _wait_for_lock(handle: int) -> None:
    deadline = time.monotonic() + LOCK_TIMEOUT
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise OSError(errno.EBUSY, "another process has locked it") from None
            time.sleep(LOCK_POLL)
        except OSError:
            return  # some network file systems have no locks
        else:
            return
