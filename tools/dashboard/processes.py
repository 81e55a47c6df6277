"""The rows on capacity, on changes, and on a single proxy."""

from tools.dashboard.grafana import GREEN, ORANGE, RED, Panel, Query, Row
from tools.dashboard.queries import HERE, SOURCES, TOKEN, by, quantile, rate, share

DAY = 86_400

ROOM = Row(
    "Room",
    [
        Panel(
            "Is there room for more?",
            "How much of what may be is taken; at 100 % requests wait or are turned away.",
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
            "Who is turned away?",
            "Requests refused with 503, and callers hung up on, because there was no room.",
            "reqps",
            [
                Query(by("reason", rate("requests_shed_total")), "{{reason}}"),
                Query(f"sum({rate('caller_connections_refused_total')})", "callers hung up on"),
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
                    "waiting, all together",
                ),
            ],
        ),
        Panel(
            "How much CPU do they use?",
            "In cores. One proxy uses one at most.",
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
            "Connections opened to the bank. Many, compared with the requests: something on the "
            "way closes them early.",
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
            "Are changed files taken?",
            "Reloads of configuration and secrets, a minute. Refused: the old ones are in force.",
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
            "The time left to the first certificate in each file.",
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
    "$instance by itself",
    [
        Panel(
            "Whose errors, on this one?",
            "As above, for $instance alone. A proxy that stands out has its own trouble; where all "
            "are alike, it is the bank's or the network's.",
            "reqps",
            [Query(by("error_source", rate("requests_total")), "{{error_source}}")],
            stacked=True,
            colours=SOURCES | {"none": GREEN},
        ),
        Panel(
            "How long do its callers wait, and for whom?",
            "What 99 of 100 requests do not exceed.",
            "s",
            [
                Query(quantile(0.99, "request_duration_seconds"), "the whole"),
                Query(quantile(0.99, "upstream_duration_seconds"), "the bank"),
                Query(quantile(0.99, "request_proxy_duration_seconds"), "the proxy"),
            ],
        ),
        Panel(
            "How long do its tokens last?",
            "The time until each of its tokens ends.",
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
