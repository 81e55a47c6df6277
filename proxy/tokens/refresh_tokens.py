"""Refresh tokens: the newest of each key, in memory, and in a file where they must survive.

A refresh returns a new refresh token and ends the old one, so only the newest is kept.
"""

import json
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from proxy.errors import ConfigError
from proxy.tokens.token import Moment, TokenKey


@dataclass(frozen=True, slots=True)
class RefreshToken:
    """A refresh token. ``expires_at`` is Unix seconds."""

    text: str = field(repr=False)
    expires_at: float


class RefreshTokens:
    """Keeps refresh tokens. With a ``file``, only its owner may read what is written there.

    The file is read anew each time, so a ``candescent-proxy login`` beside a running proxy is
    noticed by it.
    """

    def __init__(self, clock: Callable[[], Moment], file: Path | None = None) -> None:
        self._clock = clock
        self._file = file
        self._known: dict[TokenKey, RefreshToken] = {}

    def current(self, key: TokenKey) -> str:
        """Return the refresh token for ``key``, or an empty text if there is no live one."""
        known = self._read().get(key) or self._known.get(key)
        if known is None or known.expires_at <= self._clock().wall:
            return ""
        return known.text

    def keep(self, key: TokenKey, text: str, lifetime: float) -> None:
        """Keep a new refresh token in place of the old one. Raises ``ConfigError`` (file)."""
        self._known[key] = RefreshToken(text, self._clock().wall + lifetime)
        if self._file is not None:
            self._write(self._read() | {key: self._known[key]})

    def forget(self, key: TokenKey, text: str) -> None:
        """Forget a refresh token that has died, unless a newer one has taken its place."""
        if self.current(key) != text:
            return
        self._known.pop(key, None)
        if self._file is not None:
            self._write({kept: token for kept, token in self._read().items() if kept != key})

    def _read(self) -> dict[TokenKey, RefreshToken]:
        if self._file is None or not self._file.exists():
            return {}
        try:
            document = json.loads(self._file.read_text(encoding="ascii"))
            return {
                TokenKey.parse(name): RefreshToken(str(entry["text"]), float(entry["expires_at"]))
                for name, entry in document.items()
            }
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return {}

    def _write(self, tokens: dict[TokenKey, RefreshToken]) -> None:
        assert self._file is not None
        document = {
            str(key): {"text": token.text, "expires_at": token.expires_at}
            for key, token in tokens.items()
        }
        try:
            write_private(self._file, json.dumps(document))
        except OSError as error:
            raise ConfigError(
                [f"refresh_token_file: {self._file} cannot be written ({error.strerror})"]
            ) from error


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read, whole or not at all. Raises ``OSError``."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(text)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
