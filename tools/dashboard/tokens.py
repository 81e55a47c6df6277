"""The rows on tokens and their refreshes."""

from tools.dashboard.grafana import GREEN, Panel, Query, Row
from tools.dashboard.queries import HERE, TOKEN, by, quantile, rate

ASKED = f'{TOKEN},trigger!="shared"'
"""Selects refreshes from the bank, without tokens from the fleet's store."""

TOKENS = Row(
    "Tokens",
    [
        Panel(
            "How long would requests go on without the bank's token endpoint?",
            "The time until each token ends, on the proxy where it is shortest. Saw teeth are "
            "well; a line that runs down to zero is not.",
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
            width=12,
        ),
        Panel(
            "Does the bank give tokens?",
            "Token requests a minute, by what came of them.",
            "opm",
            [
                Query(f"60 * sum({rate('token_refreshes_total', ASKED)})", "well"),
                Query(
                    f"60 * {by('reason', rate('token_refresh_failures_total', TOKEN))}",
                    "{{reason}}",
                ),
            ],
            width=12,
            stacked=True,
            colours={"well": GREEN},
        ),
        Panel(
            "How often has it failed in a row?",
            "Token requests that failed since the last one that did not.",
            "short",
            [
                Query(
                    by(
                        "institution, kind",
                        f"candescent_proxy_token_consecutive_failures{{{TOKEN}}}",
                        "max",
                    ),
                    "{{institution}} {{kind}}",
                )
            ],
        ),
        Panel(
            "Does the bank throttle us?",
            "How long the bank will not be asked because it said quota or spike.",
            "s",
            [
                Query(
                    by(
                        "institution, kind",
                        "clamp_min(candescent_proxy_token_throttled_until_timestamp_seconds"
                        f"{{{TOKEN}}} - time(), 0)",
                        "max",
                    ),
                    "{{institution}} {{kind}}",
                )
            ],
        ),
        Panel(
            "Does the bank refuse tokens that should be good?",
            "Tokens refused on a resource call, a minute. True: the one in use, which was then let "
            "go. Somebody may be revoking them.",
            "opm",
            [
                Query(
                    f"60 * {by('dropped', rate('token_rejections_total', TOKEN))}",
                    "let go: {{dropped}}",
                )
            ],
        ),
        Panel(
            "How long does a token request take?",
            "Whatever came of it.",
            "s",
            [Query(quantile(0.95, "token_refresh_duration_seconds", more="kind"), "{{kind}} 95 %")],
        ),
        Panel(
            "How far through its life is each token?",
            "Its age as a part of its lifetime, on the proxy where it is oldest.",
            "percentunit",
            [
                Query(
                    by(
                        "institution, kind",
                        f"candescent_proxy_token_age_seconds{{{TOKEN}}}"
                        f" / candescent_proxy_token_lifetime_seconds{{{TOKEN}}}",
                        "max",
                    ),
                    "{{institution}} {{kind}}",
                )
            ],
            most=1,
        ),
    ],
)


FETCHING = Row(
    "Who fetches?",
    [
        Panel(
            "Which proxies ask the bank for tokens?",
            "Token requests a minute, by proxy.",
            "opm",
            [Query(f"60 * {by('instance', rate('token_refreshes_total', ASKED))}", "{{instance}}")],
            width=12,
        ),
        Panel(
            "Why do they ask?",
            "First: there was none yet. Due: ahead of its end, as it should be. Expired: too late. "
            "Rejected: the bank refused the last one. Reload: new credentials were tried.",
            "opm",
            [
                Query(
                    f"60 * {by('trigger', rate('token_refreshes_total', ASKED))}",
                    "{{trigger}}",
                )
            ],
            width=12,
            stacked=True,
        ),
        Panel(
            "How do they come by their tokens?",
            "With a token store. Fetched: from the bank, for all proxies. Shared: from the store. "
            "Uncached, direct: from the bank, because the store failed or was too slow. "
            "Refused, failed: no token. Without a store this panel is empty.",
            "opm",
            [Query(f"60 * {by('source', rate('store_tokens_total', TOKEN))}", "{{source}}")],
            stacked=True,
        ),
        Panel(
            "Is the fleet's store of use?",
            "1 where the last steps on it were done; where not, a proxy asks the bank for itself.",
            "short",
            [Query(by("instance", f"candescent_proxy_store_up{{{HERE}}}", "min"), "{{instance}}")],
            most=1,
        ),
        Panel(
            "What fails on the store?",
            "Steps on the store that were not done, a minute.",
            "opm",
            [
                Query(
                    f"60 * {by('step, reason', rate('store_failures_total'))}",
                    "{{step}} {{reason}}",
                )
            ],
        ),
    ],
)
