"""The rows on capacity, on changes, and on a single proxy."""

from tools.dashboard.grafana import GREEN, ORANGE, RED, Panel, Query, Row
from tools.dashboard.queries import HERE, SOURCES, TOKEN, by, quantile, rate, share

DAY = 86_400

ROOM = Row(
    "Room",
    [
        Panel(
            "How close are the limits?",
            "The used share of each limit; at 100 % requests wait or are refused.",
            "percentunit",
            [
                Query(share("requests_in_flight"), "{{instance}} requests"),
                Query(share("caller_connections"), "{{instance}} callers"),
                Query(share("upstream_connections"), "{{instance}} connections to the bank"),
            ],
            steps=((0, GREEN), (0.8, RED)),
            most=1,
        ),
        Panel(
            "What is refused?",
            "Requests refused with 503, and connections closed, because of a limit.",
            "reqps",
            [
                Query(by("reason", rate("requests_shed_total")), "{{reason}}"),
                Query(f"sum({rate('caller_connections_refused_total')})", "connections closed"),
            ],
        ),
        Panel(
            "How many are served?",
            "Requests in flight, and those that wait for a connection to the bank.",
            "short",
            [
                Query(
                    by("instance", f"candescent_proxy_requests_in_flight{{{HERE}}}"), "{{instance}}"
                ),
                Query(
                    f"sum(candescent_proxy_requests_waiting_for_connection{{{HERE}}})",
                    "waiting, all proxies",
                ),
            ],
        ),
        Panel(
            "How much CPU do they use?",
            "In cores. One proxy uses at most one.",
            "short",
            [
                Query(
                    by("instance", f"rate(process_cpu_seconds_total{{{HERE}}}[$__rate_interval])"),
                    "{{instance}}",
                )
            ],
            decimals=2,
        ),
        Panel(
            "How much memory do they use?",
            "Resident memory.",
            "bytes",
            [Query(by("instance", f"process_resident_memory_bytes{{{HERE}}}"), "{{instance}}")],
        ),
        Panel(
            "How often is a new connection made?",
            "Connections opened to the bank. If there are nearly as many as requests, a device in "
            "between closes them early.",
            "cps",
            [
                Query(
                    by("instance", rate("upstream_connections_opened_total")),
                    "{{instance}}",
                )
            ],
        ),
    ],
)


CHANGES = Row(
    "Changes",
    [
        Panel(
            "What runs where?",
            "Version of the proxy and of Python, by instance.",
            "short",
            [
                Query(
                    f"candescent_proxy_build_info{{{HERE}}}",
                    "{{instance}} {{version}}",
                    instant=True,
                )
            ],
            kind="table",
            columns=("namespace", "instance", "version", "python"),
        ),
        Panel(
            "Do reloads succeed?",
            "Reloads of configuration and secrets per minute. After a failure the old ones stay in "
            "use.",
            "opm",
            [
                Query(f"60 * {by('result', rate('reloads_total'))}", "{{result}}"),
                Query(
                    f"60 * {by('result', rate('secret_rotations_total'))}", "new login {{result}}"
                ),
            ],
        ),
        Panel(
            "When do certificates expire?",
            "The time until the first certificate in each file expires.",
            "s",
            [
                Query(
                    by(
                        "instance, setting",
                        f"candescent_proxy_certificate_expiry_timestamp_seconds{{{HERE}}} - time()",
                        "min",
                    ),
                    "{{instance}} {{setting}}",
                )
            ],
            kind="stat",
            steps=((0, RED), (2 * DAY, ORANGE), (14 * DAY, GREEN)),
        ),
    ],
)


ONE = Row(
    "$instance only",
    [
        Panel(
            "Whose errors, on this one?",
            "As above, for $instance only. If only one proxy has errors, the cause is local; if "
            "all have, it is the bank or the network.",
            "reqps",
            [Query(by("error_source", rate("requests_total")), "{{error_source}}")],
            stacked=True,
            colours=SOURCES | {"none": GREEN},
        ),
        Panel(
            "How long do its callers wait, and for whom?",
            "99th percentile of the waits.",
            "s",
            [
                Query(quantile(0.99, "request_duration_seconds"), "the whole"),
                Query(quantile(0.99, "upstream_duration_seconds"), "the bank"),
                Query(quantile(0.99, "request_proxy_duration_seconds"), "the proxy"),
            ],
        ),
        Panel(
            "How long do its tokens last?",
            "The time until each of its tokens expires.",
            "s",
            [
                Query(
                    by(
                        "institution, kind",
                        f"candescent_proxy_token_runway_seconds{{{TOKEN}}}",
                        "min",
                    ),
                    "{{institution}} {{kind}}",
                )
            ],
        ),
    ],
    folded=True,
    repeat="instance",
)
