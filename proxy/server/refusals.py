"""Connections that are closed because of a limit or their TLS: counted by reason, and logged."""

import time
from collections import Counter
from collections.abc import Callable, Mapping

INTERVAL = 60.0
"""Seconds between two log lines for the same reason."""

TEXTS = {
    "connections": "as many callers{where} as may be; others are refused",
    "handshake": "TLS handshakes{where} fail or take too long",
    "no_certificate": "callers{where} show no client certificate",
    "certificate": "client certificates of callers{where} are not accepted",
    "tls_version": "callers{where} have no TLS version or cipher in common with this proxy",
    "plain_http": "callers{where} speak plain HTTP, and the port speaks TLS",
    "memory": "callers{where} hold limits.max_memory; those that hold most are refused",
    "not_read": "callers{where} do not read their responses within limits.idle_timeout",
    "files": "the limit of open files is reached; callers{where} wait",
}
"""What the log says, by reason."""


class Refusals:
    """Counts by reason, and warns of each reason once a minute at most.

    ``where`` follows "callers" in the log line, empty or such as `` of listener kiosk``.
    ``counts`` has every reason from the start.
    """

    def __init__(
        self,
        warn: Callable[[str], None] = lambda _text: None,
        where: str = "",
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._warn = warn
        self._where = where
        self._now = now
        self._warned_at: dict[str, float] = {}
        self._counts = Counter(dict.fromkeys(TEXTS, 0))

    @property
    def counts(self) -> Mapping[str, int]:
        """Connections closed, by reason."""
        return self._counts

    def note(self, reason: str, detail: str = "") -> None:
        """Count a connection; ``detail`` goes into the log line, if one is due."""
        self._counts[reason] += 1
        now = self._now()
        if now - self._warned_at.get(reason, now - INTERVAL) >= INTERVAL:
            self._warned_at[reason] = now
            text = TEXTS[reason].format(where=self._where)
            self._warn(f"{text} ({detail})" if detail else text)
