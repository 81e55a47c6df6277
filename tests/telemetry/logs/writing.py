"""A log that tests read, and sample values for it."""

import io
import json
from typing import Any, Literal

from proxy.telemetry import logs
from proxy.telemetry.telemetry_settings import LogSettings
from proxy.tokens.token import Instant, Token, TokenKey, TokenKind

SECRET = "hush-Zm9vYmFy.42"
KEY = TokenKey(TokenKind.V2, "00016")
TOKEN = Token(KEY, SECRET, Instant(1, 1_800_000_000), 3600)

Level = Literal["debug", "info", "warning", "error"]
Format = Literal["auto", "json", "console"]
LEVELS: tuple[Level, ...] = ("debug", "info", "warning", "error")


def set_up(level: Level = "debug", form: Format = "json") -> io.StringIO:
    """Send the log to the returned stream."""
    out = io.StringIO()
    logs.set_up(LogSettings(level=level, format=form), out)
    return out


def lines(out: io.StringIO) -> list[dict[str, Any]]:
    """Return the lines of a JSON log."""
    return [json.loads(line) for line in out.getvalue().splitlines()]
