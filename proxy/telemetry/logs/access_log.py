"""The access log: one line per request.

With ``log.requests: all``, logging is the largest cost of a request besides forwarding. The fields
are known, so JSON lines bypass structlog's processor chain (docs/performance.md).
"""

import logging
import random
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from proxy.forwarding.record import MAIN_LISTENER, RequestRecord
from proxy.telemetry.logs.lines import json_lines
from proxy.telemetry.logs.redaction import harmless_text
from proxy.telemetry.logs.structured import structlog
from proxy.telemetry.telemetry_settings import LogSettings


class AccessLog:
    """Logs the requests selected by ``settings``.

    ``chance`` returns a number in [0, 1) for sampling, ``now`` the timestamp.
    """

    def __init__(
        self,
        settings: LogSettings,
        chance: Callable[[], float] = random.random,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._access = settings.access
        self._sample = settings.sample if settings.access == "sampled" else 1.0
        self._chance = chance
        self._now = now
        self._log = structlog.get_logger().bind()
        self._write = json_lines()

    def request(self, record: RequestRecord) -> None:
        """Write one line for a request, if it is selected."""
        if self._access == "off":
            return
        failed = (
            record.source != "none"
            or record.is_aborted
            or record.has_policy_warning
            or record.status >= 500
        )
        if not failed and self._sample < 1 and self._chance() >= self._sample:
            return
        level = logging.WARNING if failed else logging.INFO
        fields = request_fields(record)
        if self._write is None:
            self._log.log(level, "request", **fields)
        elif self._log.is_enabled_for(level):
            fields["event"] = "request"
            fields["level"] = "warning" if failed else "info"
            fields["timestamp"] = self._now().isoformat()[: -len("+00:00")] + "Z"
            self._write(fields)


def request_fields(record: RequestRecord) -> dict[str, Any]:
    """Return the fields of a request's line; times in milliseconds, sizes in bytes."""
    fields: dict[str, Any] = {
        "method": record.method,
        "path": harmless_text(record.path),
        "status": record.status,
        "ms": _ms(record.finished_at - record.started_at),
    }
    if record.reason:
        fields["reason"] = record.reason
    fields |= {
        "error_source": str(record.source),
        "route": str(record.route),
        "institution": record.institution,
        "transactionId": record.transaction_id,
        "upload_bytes": record.sent_bytes,
        "download_bytes": record.received_bytes,
    }
    if record.listener != MAIN_LISTENER:
        fields["listener"] = record.listener
    if record.responded_at:
        fields["upstream_ms"] = _ms(record.responded_at - record.sent_at)
    if record.replays:
        fields["replays"] = record.replays
    if record.retry:
        fields["retry"] = record.retry
    if record.has_policy_warning:
        fields["policy"] = "warned"
    if record.is_aborted:
        fields["aborted"] = True
    return fields


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 2)
