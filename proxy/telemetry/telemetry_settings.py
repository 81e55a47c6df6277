"""The settings of logs and spans: the sections ``log`` and ``tracing``."""

from dataclasses import dataclass
from typing import Annotated, Literal

from proxy.settings import Check, Share, check_base_url, setting


@dataclass(frozen=True)
class LogSettings:
    """Log lines, written to standard error."""

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


@dataclass(frozen=True)
class TracingSettings:
    """OpenTelemetry spans; its own variables (OTEL_…) are read too."""

    endpoint: Annotated[str, Check(check_base_url)] | None = setting(
        None,
        "URL to which spans are sent, OTLP over HTTP: http://HOST:4318/v1/traces. "
        "Needs the extra `otel`.",
    )
