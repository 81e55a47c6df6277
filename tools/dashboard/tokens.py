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
            "The time until each token expires, on the proxy where it is shortest. Saw teeth are "
            "normal; a line that falls to zero is not.",
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
            "Does the bank issue tokens?",
            "Token requests per minute, by result.",
            "opm",
            [
                Query(f"60 * sum({rate('token_refreshes_total', ASKED)})", "success"),
                Query(
                    f"60 * {by('reason', rate('token_refresh_failures_total', TOKEN))}",
                    "{{reason}}",
                ),
            ],
            width=12,
            stacked=True,
            colours={"success": GREEN},
        ),
        Panel(
            "How often has it failed in a row?",
            "Failed token requests since the last successful one.",
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
            "The time until token requests resume after a quota or spike error.",
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
            "Does the bank refuse valid tokens?",
            "Tokens refused on a resource call, per minute. True: the one in use, which was then "
            "dropped. Another client may be revoking them.",
            "opm",
            [
                Query(
                    f"60 * {by('dropped', rate('token_rejections_total', TOKEN))}",
                    "dropped: {{dropped}}",
                )
            ],
        ),
        Panel(
            "How long does a token request take?",
            "Failed ones included.",
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
            "Which proxies fetch tokens?",
            "Token requests per minute, by proxy.",
            "opm",
            [Query(f"60 * {by('instance', rate('token_refreshes_total', ASKED))}", "{{instance}}")],
            width=12,
        ),
        Panel(
            "Why are tokens fetched?",
            "First: there was none yet. Due: before the last one expires, as it should be. "
            "Expired: too late. Rejected: the bank refused the last one. Reload: new credentials "
            "were tried.",
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
            "Where do tokens come from?",
            "With a token store. Fetched: from the bank, for all proxies. Shared: from the store. "
            "Uncached, direct: from the bank, because the store failed or was too slow. "
            "Refused, failed: no token. Without a store this panel is empty.",
            "opm",
            [Query(f"60 * {by('source', rate('store_tokens_total', TOKEN))}", "{{source}}")],
            stacked=True,
        ),
        Panel(
            "Is the token store available?",
            "1 if the last operations succeeded; otherwise the proxy fetches its own tokens.",
            "short",
            [Query(by("instance", f"candescent_proxy_store_up{{{HERE}}}", "min"), "{{instance}}")],
            most=1,
        ),
        Panel(
            "What fails at the token store?",
            "Failed operations on the store, per minute.",
            "opm",
            [
                Query(
                    f"60 * {by('operation, reason', rate('store_failures_total'))}",
                    "{{operation}} {{reason}}",
                )
            ],
        ),
    ],
)
