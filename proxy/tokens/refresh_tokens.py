"""Refresh tokens: the newest of each key, in memory, and in a file where they must survive.

A refresh returns a new refresh token and ends the old one, so only the newest is kept.
"""

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from proxy.errors import ConfigError
from proxy.tokens.secret_files import write_private
from proxy.tokens.token import Instant, TokenKey

if sys.platform != "win32":
    import fcntl


@dataclass(frozen=True, slots=True)
class StoredRefreshToken:
    """A refresh token. ``expires_at`` is Unix seconds; ``subject`` says whose login it renews."""

    text: str = field(repr=False)
    expires_at: float
    subject: str = ""


Known = dict[TokenKey, StoredRefreshToken]


class RefreshTokens:
    """Keeps refresh tokens. With a ``file``, only its owner may read what is written there.

    The file is read anew each time, so a ``candescent-proxy login`` beside a running proxy is
    noticed by it. What could not be written there is kept in memory, and goes before what the
    file still holds.
    """

    def __init__(self, clock: Callable[[], Instant], file: Path | None = None) -> None:
        self._clock = clock
        self._file = file
        self._known: Known = {}
        self._forgotten: dict[TokenKey, str] = {}
        self._file_state = self._read()

    def current(self, key: TokenKey, subject: str = "") -> str:
        """Return the refresh token for ``key``, or an empty text if there is no live one.

        One of another holder, whom a changed configuration has replaced, is none.
        """
        known = self._read().get(key)
        if known is None or known.text == self._forgotten.get(key):
            known = self._known.get(key)
        if known is None or known.subject != subject or known.expires_at <= self._clock().wall:
            return ""
        return known.text

    def keep(self, key: TokenKey, text: str, lifetime: float, subject: str = "") -> None:
        """Keep a new refresh token in place of the old one. Raises ``ConfigError`` (file)."""
        stored = self._known[key] = StoredRefreshToken(text, self._clock().wall + lifetime, subject)
        self._forgotten[key] = self._in_file(key)
        self._change(lambda tokens: tokens.update({key: stored}))

    def forget(self, key: TokenKey, text: str) -> None:
        """Forget a refresh token that has died, unless a newer one has taken its place.

        Raises ``ConfigError`` (file); it is forgotten nevertheless.
        """
        if key in self._known and self._known[key].text == text:
            del self._known[key]
        if self._in_file(key) == text:
            self._forgotten[key] = text
            self._change(lambda tokens: _drop(tokens, key, text))

    def updated_keys(self) -> set[TokenKey]:
        """Return the keys for which another process has put a token into the file meanwhile.

        Meanwhile is since the last call, or since the beginning.
        """
        before, self._file_state = self._file_state, self._read()
        changed = {key for key, token in self._file_state.items() if token != before.get(key)}
        return {key for key in changed if self._file_state[key] != self._known.get(key)}

    def _in_file(self, key: TokenKey) -> str:
        stored = self._read().get(key)
        return "" if stored is None else stored.text

    def _change(self, change: Callable[[Known], None]) -> None:
        """Read the file, change it and write it, while no other process does."""
        if self._file is None:
            return
        try:
            with directory_lock(self._file.parent):
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
            document = json.loads(self._file.read_text(encoding="ascii"))
        except (OSError, ValueError, RecursionError):
            return {}
        entries = document.items() if isinstance(document, dict) else ()
        return dict(filter(None, (_entry(name, entry) for name, entry in entries)))


def _drop(tokens: Known, key: TokenKey, text: str) -> None:
    if key in tokens and tokens[key].text == text:
        del tokens[key]


def _document(tokens: Known) -> dict[str, dict[str, str | float]]:
    return {
        str(key): {"text": token.text, "expires_at": token.expires_at, "subject": token.subject}
        for key, token in tokens.items()
    }


def _entry(name: str, entry: object) -> tuple[TokenKey, StoredRefreshToken] | None:
    match entry:
        case {
            "text": str(text),
            "expires_at": float() | int() as expires_at,
            "subject": str(subject),
        }:
            pass
        case _:
            return None
    try:
        return TokenKey.parse(name), StoredRefreshToken(text, expires_at, subject)
    except ValueError:
        return None


@contextmanager
def directory_lock(directory: Path) -> Iterator[None]:
    """Wait for other processes that change files of a directory, and keep them waiting.

    Only those that ask the same way; a login and a proxy that write one file do. Raises
    ``OSError``.
    """
    if sys.platform == "win32":
        yield
        return
    handle = os.open(directory, os.O_RDONLY)
    try:
        with suppress(OSError):  # some network file systems have no locks for directories
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
