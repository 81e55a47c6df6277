"""The settings of logs, spans and pushed metrics: ``log``, ``tracing`` and ``metrics``."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from annotated_types import Interval

from proxy.settings import SIZE, Check, Seconds, Share, check_base_url, setting
from proxy.telemetry.access_format import check_format


@dataclass(frozen=True)
class LogSettings:
    """Log lines, written to standard error; those of requests to a file if one is set."""

    level: Literal["debug", "info", "warning", "error"] = setting(
        "info", "Least severe level that is logged."
    )
    format: Literal["auto", "json", "console"] = setting(
        "auto", "Format of log lines: `auto` is `console` on a terminal, else `json`."
    )
    access: Literal["off", "sampled", "on"] = setting(
        "sampled",
        "Requests that are logged: `sampled` means failed ones and the share "
        "`log.sample` of the others.",
    )
    sample: Share = setting(0.01, "Share of successful requests that are logged, from 0 to 1.")
    access_format: Annotated[str, Check(check_format)] = setting(
        "auto",
        "Format of requests' lines: `auto` is `log.format` (`json` in a file); `json`, `common`, "
        "`combined`, or a template such as `{method} {path} {status}` (docs/operations.md).",
    )
    access_file: Path | None = setting(
        None, "File of requests' lines instead of standard error; SIGUSR1 opens it anew."
    )
    access_file_size: Annotated[int, Interval(ge=0), SIZE] = setting(
        100 << 20,
        "Size at which the file is renamed to `….1`, and a new one begun; 0 for never.",
    )
    access_file_keep: Annotated[int, Interval(ge=0, le=1000)] = setting(
        5, "Renamed files that are kept; the oldest is deleted."
    )
    access_address: Literal["full", "masked", "off"] = setting(
        "full",
        "Callers' IP addresses in requests' lines: `masked` keeps the network (/24, IPv6: /48).",
    )
    access_user_agent: bool = setting(True, "Log the User-Agent of requests.")


@dataclass(frozen=True)
class TracingSettings:
    """OpenTelemetry spans; its own variables (OTEL_…) are read too."""

    endpoint: Annotated[str, Check(check_base_url)] | None = setting(
        None,
        "URL to which spans are sent, OTLP over HTTP: http://HOST:4318/v1/traces. "
        "Needs the extra `otel`.",
    )


@dataclass(frozen=True)
class MetricsSettings:
    """Metrics sent to an OpenTelemetry collector; `/metrics` is there without it."""

    endpoint: Annotated[str, Check(check_base_url)] | None = setting(
        None,
        "URL to which metrics are sent, OTLP over HTTP: http://HOST:4318/v1/metrics. "
        "Needs the extra `otel`.",
    )
    interval: Seconds = setting(60.0, "Time between two sendings; the last one is at shutdown.")
