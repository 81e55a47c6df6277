"""The access log: one line per request.

With ``log.requests: all``, logging is the largest cost of a request besides forwarding. The fields
are known, so JSON lines bypass structlog's processor chain (docs/performance.md).
"""

import logging
import random
from collections.abc import Callable
from datetime import UTC, datetime
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any, TextIO

from proxy.forwarding.record import MAIN_LISTENER, RequestRecord
from proxy.http1.bounded_cache import BoundedCache
from proxy.telemetry.access_format import CLF_TIME, AccessFormat
from proxy.telemetry.logs.lines import Write, json_lines, template_lines
from proxy.telemetry.logs.log_writer import LogWriter
from proxy.telemetry.logs.redaction import harmless_text
from proxy.telemetry.logs.structured import structlog
from proxy.telemetry.telemetry_settings import LogSettings

MAX_USER_AGENT = 256
"""Characters of a User-Agent that are logged."""


class AccessLog:
    """Logs the requests selected by ``settings`` to ``file``, or with the other lines.

    ``chance`` returns a number in [0, 1) for sampling, ``now`` the timestamp.
    """

    def __init__(
        self,
        settings: LogSettings,
        file: TextIO | LogWriter | None = None,
        chance: Callable[[], float] = random.random,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._access = settings.access
        self._sample = settings.sample if settings.access == "sampled" else 1.0
        self._chance = chance
        self._now = now
        self._log = structlog.get_logger().bind()
        self._shows_address = settings.access_address != "off"
        self._masks_address = settings.access_address == "masked"
        self._shows_user_agent = settings.access_user_agent
        self._has_template = settings.access_format not in ("auto", "json")
        if self._has_template:
            self._write: Write | None = template_lines(AccessFormat(settings.access_format), file)
        else:
            is_forced = settings.access_format == "json" or file is not None
            self._write = json_lines(file, even_on_terminal=is_forced)

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
        self._add_caller(fields, record)
        if self._write is None:
            self._log.log(level, "request", **fields)
        elif self._log.is_enabled_for(level):
            now = self._now()
            fields["event"] = "request"
            fields["level"] = "warning" if failed else "info"
            fields["timestamp"] = now.isoformat()[: -len("+00:00")] + "Z"
            if self._has_template:
                fields["clf_time"] = now.strftime(CLF_TIME)
                version = (1, 1) if record.request is None else record.request.version
                fields["protocol"] = "HTTP/{}.{}".format(*version)
                fields["listener"] = record.listener
            self._write(fields)

    def _add_caller(self, fields: dict[str, Any], record: RequestRecord) -> None:
        """Add who called, as far as the settings permit."""
        request = record.request
        caller = record.caller if request is None else request.connection.caller
        address = caller.address
        if record.application:
            fields["caller"] = record.application
        elif caller.names:
            fields["caller"] = caller.names[0]
        if self._shows_address and address:
            fields["caller_address"] = _MASKED[address] if self._masks_address else address
        if self._shows_user_agent and request is not None:
            for name, value in request.headers:
                if _IS_USER_AGENT[name]:
                    fields["user_agent"] = _USER_AGENT[value]


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


def _is_user_agent(name: bytes) -> bool:
    return name.lower() == b"user-agent"


def _user_agent(value: bytes) -> str:
    return harmless_text(value[:MAX_USER_AGENT].decode("latin-1"))


def mask_address(address: str) -> str:
    """Return the network of an address: /24, for IPv6 /48."""
    parsed: IPv4Address | IPv6Address = ip_address(address.partition("%")[0])
    if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped is not None:
        parsed = parsed.ipv4_mapped
    bits = 24 if parsed.version == 4 else 48
    return str(ip_network((parsed, bits), strict=False).network_address)


_IS_USER_AGENT: BoundedCache[bytes, bool] = BoundedCache(_is_user_agent, len)
_USER_AGENT: BoundedCache[bytes, str] = BoundedCache(_user_agent, len)
_MASKED: BoundedCache[str, str] = BoundedCache(mask_address, len)


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 2)
