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
        "Where the proxies run, where Prometheus knows it.",
        "candescent_proxy_build_info",
        everything=".*",
    ),
    Variable(
        "job",
        "Job",
        "What Prometheus calls them together.",
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
        "For whom the bank is called.",
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
        "Whether requests will fail soon, whose errors there are, and what the proxy adds.",
        VARIABLES,
        (NOW, REQUESTS, TIME, TOKENS, FETCHING, ROOM, CHANGES, ONE),
    )


def text() -> str:
    """Return the dashboard as JSON text."""
    return json.dumps(whole(), indent=2) + "\n"
