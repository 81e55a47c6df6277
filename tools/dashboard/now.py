"""The overview: the rows that an operator on call needs first."""

from tools.dashboard.grafana import GREEN, ORANGE, RED, Panel, Query, Row
from tools.dashboard.queries import HERE, OF, TOKEN, by, rate

BURN = ((0, GREEN), (1, ORANGE), (14.4, RED))

NOW = Row(
    "Now",
    [
        Panel(
            "Will requests fail soon?",
            "The shortest time until requests fail if the bank issues no more tokens. Tokens are "
            "renewed one to five minutes before they expire, so some minutes are normal.",
            "s",
            [Query(f"min(candescent_proxy_token_runway_seconds{{{TOKEN}}})", "runway")],
            kind="stat",
            width=5,
            height=6,
            steps=((0, RED), (30, ORANGE), (60, GREEN)),
        ),
        Panel(
            "Do requests fail now?",
            "The share of requests that fail, except because of their caller: no token, no "
            "response of the bank, or a limit of the proxy.",
            "percentunit",
            [
                Query(
                    "(sum("
                    + rate(
                        "institution_requests_total",
                        f'{OF},error_source=~"token|upstream|proxy"',
                    )
                    + f") or vector(0)) / sum({rate('institution_requests_total', OF)})",
                    "failing",
                )
            ],
            kind="stat",
            width=5,
            height=6,
            decimals=2,
            steps=((0, GREEN), (0.001, ORANGE), (0.01, RED)),
        ),
        Panel(
            "Is every proxy ready?",
            "The share of the proxies that are up and ready.",
            "percentunit",
            [
                Query(
                    f"(sum(candescent_proxy_ready{{{HERE}}} and up{{{HERE}}} == 1) or vector(0))"
                    f" / count(up{{{HERE}}})",
                    "ready",
                )
            ],
            kind="stat",
            width=4,
            height=6,
            steps=((0, RED), (0.999, GREEN)),
        ),
        Panel(
            "How fast is the error budget spent?",
            "Burn rate of the last hour for each objective: 1 uses up the budget in 30 days, 14.4 "
            "in two days. docs/runbooks/CandescentProxyErrorBudgetBurn.md has the objectives. "
            "Needs the rules of deploy/prometheus.",
            "short",
            [
                Query(
                    by(
                        "slo",
                        "namespace_job_slo:candescent_proxy_bad:ratio_rate1h"
                        '{namespace=~"$namespace",job=~"$job"}'
                        " / on (slo) group_left () (1 - slo:candescent_proxy_objective:ratio)",
                        "max",
                    ),
                    "{{slo}}",
                )
            ],
            kind="stat",
            width=10,
            height=6,
            decimals=1,
            steps=BURN,
        ),
        Panel(
            "Which alerts fire?",
            "Of those in deploy/prometheus/rules.yaml. docs/runbooks has a page for each.",
            "short",
            [
                Query(
                    'ALERTS{alertname=~"CandescentProxy.*",alertstate="firing",'
                    'namespace=~"$namespace",job=~"$job"}',
                    "{{alertname}}",
                    instant=True,
                )
            ],
            kind="table",
            width=24,
            height=6,
            columns=("alertname", "severity", "namespace", "instance", "institution", "slo"),
        ),
    ],
)
