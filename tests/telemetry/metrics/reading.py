"""Sample values for metrics, and a reader of the exposition."""

from collections.abc import Callable, Iterable
from typing import Any

from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families as classic
from prometheus_client.registry import Collector

from proxy.forwarding.record import RequestRecord
from proxy.telemetry.metrics import Metrics
from proxy.tokens.token import Instant, Token, TokenKey, TokenKind

KEY = TokenKey(TokenKind.V2, "00016")
OTHER = TokenKey(TokenKind.V1, "00017")
LABELS = {"kind": "v2", "institution": "00016", "login": ""}

Parse = Callable[[str], Iterable[Metric]]
OPENMETRICS = "application/openmetrics-text; version=1.0.0"
FORMATS: dict[str, Parse] = {
    "": classic,
    OPENMETRICS: openmetrics.text_string_to_metric_families,
}


def record(**changes: Any) -> RequestRecord:
    """Return a successful request of 20 ms, of which the bank took 15."""
    made = RequestRecord("GET", b"/v1/accounts", 10.0)
    usual = {
        "transaction_id": "t-1",
        "route": "v2",
        "institution": "00016",
        "status": 200,
        "sent_at": 10.002,
        "responded_at": 10.017,
        "finished_at": 10.02,
        "sent_bytes": 5,
        "received_bytes": 700,
    }
    for name, value in (usual | changes).items():
        setattr(made, name, value)
    return made


def token(key: TokenKey = KEY, wall: float = 1_800_000_000) -> Token:
    """Return a token that lives one hour."""
    return Token(key, "gBOL-secret", Instant(1, wall), 3600)


def families(metrics: Metrics | Collector, accept: str = "") -> dict[str, Metric]:
    """Return the exposition, parsed by the Prometheus client library."""
    if isinstance(metrics, Metrics):
        text, _ = metrics.exposition(accept)
    else:
        registry = CollectorRegistry()
        registry.register(metrics)
        text = generate_latest(registry)
    return {family.name: family for family in FORMATS[accept](text.decode())}


def value(metrics: Metrics | Collector, name: str, **labels: str) -> float | None:
    """Return the value of a series, or None."""
    for family in families(metrics).values():
        for sample in family.samples:
            if sample.name == f"candescent_proxy_{name}" and sample.labels == labels:
                return float(sample.value)
    return None


def buckets(metrics: Metrics | Collector, name: str, **labels: str) -> dict[str, float]:
    """Return a histogram's buckets: bound to count."""
    family = families(metrics)[f"candescent_proxy_{name}"]
    return {
        sample.labels["le"]: sample.value
        for sample in family.samples
        if sample.name.endswith("_bucket") and sample.labels.items() >= labels.items()
    }
