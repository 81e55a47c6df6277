"""The rows on errors and on latency."""

from tools.dashboard.grafana import GREEN, RED, Panel, Query, Row
from tools.dashboard.queries import OF, SOURCES, by, mean, quantile, quantiles, rate

REQUESTS = Row(
    "Requests",
    [
        Panel(
            "How many requests?",
            "Finished requests, by the kind of their token; none: refused before routing.",
            "reqps",
            [
                Query(
                    by("route", rate("institution_requests_total", OF)),
                    "{{route}}",
                )
            ],
            stacked=True,
        ),
        Panel(
            "Whose errors?",
            "Caller: the request cannot be forwarded. Token: the bank issued none. Upstream: the "
            "bank was not reached, or its response is not HTTP. Proxy: a limit or a defect. "
            "The bank's own responses are 5xx, forwarded unchanged.",
            "reqps",
            [
                Query(
                    by(
                        "error_source",
                        rate("institution_requests_total", f'{OF},error_source!="none"'),
                    ),
                    "{{error_source}}",
                ),
                Query(
                    "sum("
                    + rate(
                        "institution_requests_total",
                        f'{OF},error_source="none",status_class="5xx"',
                    )
                    + ")",
                    "the bank's own answer",
                ),
            ],
            stacked=True,
            colours=SOURCES,
        ),
        Panel(
            "Which errors?",
            "What the proxy answered itself, or cut: whose error it was, and the last part of the "
            "problem's type.",
            "reqps",
            [
                Query(
                    by("error_source, reason", rate("errors_total")), "{{error_source}} {{reason}}"
                )
            ],
        ),
        Panel(
            "How does the bank respond?",
            "Forwarded responses of the bank, by class of status.",
            "reqps",
            [
                Query(
                    by(
                        "status_class",
                        rate("institution_requests_total", f'{OF},error_source="none"'),
                    ),
                    "{{status_class}}",
                )
            ],
            stacked=True,
        ),
        Panel(
            "For which institutions?",
            "Requests by institution; none: refused before routing.",
            "reqps",
            [Query(by("institution", rate("institution_requests_total", OF)), "{{institution}}")],
            stacked=True,
        ),
        Panel(
            "How many bytes?",
            "Bodies only: received from callers, and sent to them.",
            "Bps",
            [Query(by("direction", rate("body_bytes_total")), "{{direction}}")],
        ),
    ],
)


TIME = Row(
    "Time",
    [
        Panel(
            "How long do callers wait?",
            "From a request's head to the last byte of its response.",
            "s",
            quantiles("request_duration_seconds"),
        ),
        Panel(
            "What does the proxy add?",
            "From a request's head to its first byte to the bank, and from the head of the bank's "
            "response to its forwarding; without waits for tokens and connections.",
            "s",
            quantiles("request_proxy_duration_seconds"),
            steps=((0, GREEN), (0.01, RED)),
        ),
        Panel(
            "How long does the bank take?",
            "From the last byte of a request to the head of its response.",
            "s",
            quantiles("upstream_duration_seconds"),
        ),
        Panel(
            "Where does the time go?",
            "A request's time on average, in parts. What is missing to the whole are bodies on "
            "their way.",
            "s",
            [
                Query(mean("request_proxy_duration_seconds"), "the proxy"),
                Query(mean("upstream_duration_seconds"), "the bank"),
                Query(mean("token_wait_seconds"), "wait for a token"),
                Query(mean("connection_wait_seconds"), "wait for a connection"),
            ],
            stacked=True,
        ),
        Panel(
            "What do requests wait for?",
            "Requests that have to wait for a token or a connection.",
            "reqps",
            [
                Query(f"sum({rate('token_wait_seconds_count')})", "a token"),
                Query(f"sum({rate('connection_wait_seconds_count')})", "a connection"),
            ],
        ),
        Panel(
            "Does the event loop keep up?",
            "99th percentile of the delay of timers. More than some milliseconds: too little CPU.",
            "s",
            [Query(quantile(0.99, "event_loop_lag_seconds", more="instance"), "{{instance}}")],
            steps=((0, GREEN), (0.1, RED)),
        ),
    ],
)
