"""Building blocks of the dashboard's queries."""

from tools.dashboard.grafana import BLUE, GREY, ORANGE, RED, Query

HERE = 'namespace=~"$namespace",job=~"$job",instance=~"$instance"'
"""Selects proxies."""
OF = f'{HERE},institution=~"$institution"'
"""Selects institutions."""
TOKEN = f'{OF},kind=~"$kind"'
"""Selects tokens."""

SOURCES = {
    "caller": GREY,
    "token": ORANGE,
    "upstream": BLUE,
    "proxy": RED,
    "the bank's own answer": "purple",
}


def rate(metric: str, filters: str = HERE) -> str:
    """Return the rate of a counter."""
    return f"rate(candescent_proxy_{metric}{{{filters}}}[$__rate_interval])"


def by(labels: str, expr: str, how: str = "sum") -> str:
    """Return an expression aggregated by labels, by default as a sum."""
    return f"{how} by ({labels}) ({expr})"


def quantile(share: float, metric: str, filters: str = HERE, *, more: str = "") -> str:
    """Return a quantile of a histogram; ``more`` are labels to keep."""
    labels = f"{more}, le" if more else "le"
    return f"histogram_quantile({share}, {by(labels, rate(f'{metric}_bucket', filters))})"


def quantiles(metric: str, filters: str = HERE) -> list[Query]:
    """Return the quantiles 0.5, 0.95 and 0.99."""
    return [
        Query(quantile(share, metric, filters), f"{share * 100:g} %") for share in (0.5, 0.95, 0.99)
    ]


def share(metric: str) -> str:
    """Return the used share of a limit, by instance."""
    taken, most = (f"candescent_proxy_{name}{{{HERE}}}" for name in (metric, f"{metric}_limit"))
    return by("instance", f"{taken} / {most}", "max")


def mean(metric: str) -> str:
    """Return the mean of a duration histogram."""
    requests = f"sum({rate('request_duration_seconds_count')})"
    return f"sum({rate(f'{metric}_sum')}) / {requests}"
