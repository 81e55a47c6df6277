"""Telemetry: events, metrics, logs and spans.

Modules:

    events.py     events, as plain values
    telemetry_settings.py  settings of logs and spans
    observers.py  passes events and finished requests to the observers
    metrics/      Prometheus metrics
    logs/         log lines
    tracing.py    OpenTelemetry spans, if a collector is configured
"""
