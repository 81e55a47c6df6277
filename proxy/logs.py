"""Log lines: structlog set-up, redaction, and facts as lines."""

import json
import logging
import os
import re
import sys
from collections.abc import Callable, MutableMapping
from contextlib import suppress
from functools import lru_cache
from typing import Any, TextIO, cast

from proxy.facts import (
    Fact,
    Reloaded,
    ReloadFailed,
    TokenRefreshed,
    TokenRefreshFailed,
    TokenRejected,
    TokenReleased,
)
from proxy.sections import LogSettings
from proxy.structured import structlog
from proxy.tokens.store_facts import EntryUnopened, Origin, StoreFact, StoreTurned, TokenShared

Event = MutableMapping[str, Any]

_SECRET_NAMES = re.compile(
    r"authoriz|secret|password|token$|access_token|bearer|cookie", re.IGNORECASE
)
_SECRET_TEXT = re.compile(r"(?i)\b(bearer|basic)\s+\S{6,}")
_HIDDEN = "[hidden]"


_PLAIN = frozenset({bool, float, int, type(None)})


def redact(_logger: Any, _method: str, event: Event) -> Event:
    """Hide what must not be in a log: values under secret names, and credentials within text."""
    for name, value in event.items():
        kind = type(value)
        if _is_secret(name):
            event[name] = _HIDDEN
        elif kind is str:
            if not value.isalnum() and _SECRET_TEXT.search(value):
                event[name] = _harmless(name, value)
        elif kind not in _PLAIN:
            event[name] = _harmless(name, value)
    return event


@lru_cache(maxsize=1024)
def _is_secret(name: str) -> bool:
    return _SECRET_NAMES.search(name) is not None


def _harmless(name: object, value: Any) -> Any:
    """Return ``value`` as it may be written, in whatever it is wrapped."""
    if _is_secret(_text(name)):
        return _HIDDEN
    match value:
        case None | bool() | int() | float():
            return value
        case dict():
            return {_text(key): _harmless(key, inner) for key, inner in value.items()}
        case (str() | bytes() as key, inner):  # a header, such as aiohttp keeps them
            return [_text(key), _harmless(key, inner)]
        case list() | tuple() | set() | frozenset():
            return [_harmless("", inner) for inner in value]
    return harmless_text(_text(value))


def harmless_text(text: str) -> str:
    """Return ``text`` without the credentials in it."""
    # No credential without a space; and all spaces but one kind are not printable.
    if " " not in text and text.isprintable():
        return text
    return _SECRET_TEXT.sub(rf"\1 {_HIDDEN}", text)


def _text(value: object) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


_encode = json.JSONEncoder(default=repr).encode


def _to_json(event: Event, **_options: Any) -> str:
    # ``json.dumps`` makes an encoder for each line that has an option.
    return _encode(event)


class _Tolerant:
    """A stream that does not mind when it cannot write: a full disk must not end a request."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        """Write, or do not."""
        with suppress(OSError, ValueError):
            self._stream.write(text)

    def flush(self) -> None:
        """Flush, or do not."""
        with suppress(OSError, ValueError):
            self._stream.flush()


def set_up(settings: LogSettings, stream: TextIO | None = None) -> None:
    """Configure structlog, and route the standard library's log through the same end."""
    out = stream or sys.stderr
    tolerant = cast(TextIO, _Tolerant(out))
    readable = settings.format == "console" or (settings.format == "auto" and out.isatty())
    level = getattr(logging, settings.level.upper())
    shared: list[Any] = [
        structlog.processors.format_exc_info,
        redact,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    last = (
        structlog.dev.ConsoleRenderer(colors=out.isatty() and not os.environ.get("NO_COLOR"))
        if readable
        else structlog.processors.JSONRenderer(serializer=_to_json)
    )
    structlog.configure(
        processors=[*shared, last],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(tolerant),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(tolerant)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, last],
            foreign_pre_chain=shared,
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(max(level, logging.WARNING))


def json_lines() -> Callable[[Event], None] | None:
    """Return what writes fields as a line of JSON past structlog's chain; None on a terminal.

    What goes this way must be harmless: nothing is redacted, and no level is asked.
    """
    config = structlog.get_config()
    if not isinstance(config["processors"][-1], structlog.processors.JSONRenderer):
        return None
    write = config["logger_factory"]().msg
    return lambda event: write(_encode(event))


class FactLog:
    """Writes facts as log lines."""

    def __init__(self) -> None:
        # Bound once, or structlog would put the logger together anew for each line.
        self._log = structlog.get_logger().bind()

    def fact(self, fact: Fact) -> None:
        """Write one event of a token's life."""
        match fact:
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
            case StoreTurned() | EntryUnopened() | TokenShared():
                self._store_fact(fact)

    def _store_fact(self, fact: StoreFact) -> None:
        match fact:
            case StoreTurned(trouble) if trouble:
                self._log.warning(
                    "the fleet's store is of no use, each proxy asks the bank for itself",
                    reason=trouble,
                )
            case StoreTurned():
                self._log.info("the fleet's store is of use")
            case EntryUnopened(key, why):
                self._log.warning(
                    "an entry in the fleet's store does not open",
                    kind=key.kind,
                    institution=key.institution,
                    reason=why,
                )
            case TokenShared(key, origin, waited) if origin is not Origin.FETCHED:
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
