"""What the proxy says about itself: events, metrics, log lines and spans.

Modules:

    events.py     what happened, as plain values
    telemetry_settings.py  settings of logs and spans
    observers.py  who learns of events and finished requests
    metrics/      Prometheus series
    logs/         log lines
    tracing.py    OpenTelemetry spans, where a collector is configured
"""
