"""The Grafana dashboard: its panels and their queries.

``make charts`` writes it into deploy/grafana and into the chart. It shows the fleet first;
the variable ``instance`` selects one proxy, and the folded rows at the end show each.
"""

import json

from tools.dashboard.grafana import Json, Variable, dashboard
from tools.dashboard.now import NOW
from tools.dashboard.processes import CHANGES, ONE, ROOM
from tools.dashboard.queries import HERE, OF
from tools.dashboard.requests import REQUESTS, TIME
from tools.dashboard.tokens import FETCHING, TOKENS

VARIABLES = (
    Variable(
        "namespace",
        "Namespace",
        "Kubernetes namespace of the proxies, if Prometheus has it.",
        "candescent_proxy_build_info",
        everything=".*",
    ),
    Variable(
        "job",
        "Job",
        "Prometheus job of the proxies.",
        "candescent_proxy_build_info",
        'namespace=~"$namespace"',
    ),
    Variable(
        "instance",
        "Instance",
        "All: the fleet. One: that proxy.",
        "candescent_proxy_build_info",
        'namespace=~"$namespace",job=~"$job"',
    ),
    Variable(
        "institution",
        "Institution",
        "Institution of the requests.",
        "candescent_proxy_institution_requests_total",
        HERE,
    ),
    Variable(
        "kind",
        "Token kind",
        "V1 or V2.",
        "candescent_proxy_token_runway_seconds",
        OF,
    ),
)


def whole() -> Json:
    """Return the dashboard."""
    return dashboard(
        "candescent-proxy",
        "candescent-proxy",
        "Whether requests will fail soon, the sources of errors, and the proxy's latency.",
        VARIABLES,
        (NOW, REQUESTS, TIME, TOKENS, FETCHING, ROOM, CHANGES, ONE),
    )


def text() -> str:
    """Return the dashboard as JSON text."""
    return json.dumps(whole(), indent=2) + "\n"
