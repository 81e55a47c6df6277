"""When tokens are renewed, and the back-off after failures: the section ``token``."""

import math
from dataclasses import dataclass
from typing import Annotated

from annotated_types import Interval, MinLen

from proxy.errors import TokenFailure, kinds
from proxy.settings import COMMA_SEPARATED, Count, Seconds, SecondsOrZero, setting
from proxy.tokens.client_authentication import AuthMethod, BasicEncoding
from proxy.tokens.token import TokenKind

RETRY_AFTER_MAX = 3600.0
"""Seconds; a longer ``Retry-After`` of the bank is reduced to this."""

FIRST_REFUSAL = 10.0
"""Seconds until refused credentials are tried again at a start; doubles each time."""

Half = Annotated[float, Interval(ge=0, le=0.5)]


@dataclass(frozen=True)
class RefreshPolicy:
    """When tokens are renewed, and waits after failures."""

    timeout: Seconds = setting(10.0, "Time for each token call and other calls of the proxy's own.")
    margin_min: Seconds = setting(60.0, "Latest renewal, as time before expiry.")
    margin_max: Seconds = setting(300.0, "Earliest renewal, as time before expiry, without jitter.")
    margin_fraction: Half = setting(
        0.2,
        "Renewal between `token.margin_min` and `token.margin_max`, as a share of "
        "the lifetime before expiry.",
    )
    jitter_fraction: Half = setting(0.1, "Random advance of a renewal, as a share of the lifetime.")
    jitter_max: Seconds = setting(60.0, "Largest random advance of a renewal.")
    min_interval: Seconds = setting(
        10.0,
        "Pause after a refused token was replaced; doubles while new tokens are refused too.",
    )
    max_interval: Seconds = setting(300.0, "Longest pause after a refused token was replaced.")
    backoff_initial: Seconds = setting(
        1.0, "Longest wait after the first failed token call; doubles each time."
    )
    backoff_max: Seconds = setting(60.0, "Longest wait between failed token calls.")
    throttle_initial: Seconds = setting(
        10.0,
        "Wait after the first quota or spike error (CMN_90002, CMN_90003); doubles each time.",
    )
    throttle_max: Seconds = setting(300.0, "Longest wait after quota and spike errors.")
    refusal_memory: Seconds = setting(
        60.0,
        "Time before refused credentials are tried again; at a start after 10, 20 and 40 s.",
    )
    start_spread: SecondsOrZero = setting(
        0.0,
        "Longest random delay of the first token call while no request waits, for "
        "roll-outs without a store.",
    )
    refresh_rate: Annotated[float, Interval(gt=0, le=10_000)] = setting(
        20.0,
        "Renewals started per second; more if lifetimes require it or requests wait.",
    )
    max_refreshes: Count = setting(64, "Limit of concurrent renewals.")
    idle: Seconds = setting(
        3600.0, "Time without requests after which an institution's token is dropped."
    )
    auth_method: AuthMethod = setting(
        AuthMethod.BASIC,
        "How token calls prove the client: Basic, the body, or an assertion signed with "
        "`client_key_file` (RFC 7523).",
    )
    basic_encoding: BasicEncoding = setting(
        BasicEncoding.RAW,
        "Client id and secret in Basic: as they are, or form-encoded (RFC 6749, 2.3.1).",
    )
    assertion_audience: str | None = setting(
        None,
        "Audience of assertions to `base_url`; the URL of the V2 token endpoint if left out, "
        "as at the institutions' own addresses.",
    )
    prefetch: Annotated[tuple[TokenKind, ...], MinLen(1), COMMA_SEPARATED] = setting(
        (TokenKind.V2,), "Kinds of token without which the proxy is not ready."
    )

    def start_delay(self, chance: float) -> float:
        """Return the delay of the first fetch, in seconds, while no request needs the token."""
        return chance * self.start_spread

    def refresh_age(self, lifetime: float, chance: float) -> float:
        """Return the age, in seconds, at which a token of ``lifetime`` is renewed.

        ``chance`` in [0, 1) moves it earlier by up to ``jitter_fraction``, so that proxies that
        started together do not renew together. It is never before half the lifetime and never
        after its end. For a lifetime too short for the margin, it lies shortly after the half.
        """
        margin = max(self.margin_min, min(self.margin_max, self.margin_fraction * lifetime))
        # The quarter keeps a large jitter_fraction from reaching the end of a short lifetime.
        spread = min(self.jitter_fraction * lifetime, self.jitter_max, lifetime / 4)
        latest = max(lifetime - margin, lifetime / 2 + spread)
        return max(latest - chance * spread, lifetime / 2)

    def retry_delay(
        self,
        reason: TokenFailure,
        failures: int,
        chance: float,
        retry_after: float | None = None,
        *,
        first: bool = False,
    ) -> float:
        """Return the delay, in seconds, after the ``failures``-th failure in a row.

        Refusals wait ``refusal_memory``, throttling (CMN_90002, CMN_90003) from
        ``throttle_initial``, other failures from ``backoff_initial``; the last two double, with
        jitter. ``retry_after``, from the bank, is a lower bound.

        ``first``: there has been no token yet. When throttled then, many proxies have probably
        started together, so the delay is spread over twice the time. When refused then, the bank
        may be starting too, so the first delays are shorter, except with a refused user, who may
        be locked out after a few attempts.
        """
        asked = min(retry_after or 0.0, RETRY_AFTER_MAX)
        if reason.is_refusal:
            is_early = first and reason is not kinds.TOKEN_BAD_USER
            step = FIRST_REFUSAL * 2.0 ** min(failures - 1, 32) if is_early else math.inf
            return max(asked, min(step, self.refusal_memory))
        doublings = min(failures - 1, 32)
        if reason is kinds.TOKEN_THROTTLED:
            step = min(self.throttle_initial * 2.0**doublings, self.throttle_max)
            if first:
                spread = min(2 * step, self.throttle_max)
                return max(asked, self.throttle_initial / 4) + chance * spread
            return max(asked, step / 2) + chance * step / 2
        step = min(self.backoff_initial * 2.0**doublings, self.backoff_max)
        return max(asked + chance * step, self.backoff_initial / 10)

    def shared_delay(self, wait: float, chance: float) -> float:
        """Return the delay, in seconds, after a failure of another proxy of the fleet.

        ``wait`` is the rest of the fleet's; the spread keeps the store from being asked at once.
        """
        return wait + chance * self.backoff_initial

    def rejection_pause(self, lifetime: float, unhelpful: int) -> float:
        """Return the seconds for which no further refused token is dropped after one was.

        ``unhelpful`` counts the new tokens in a row that were refused too.
        """
        first = min(self.min_interval, lifetime / 2)
        return min(first * 2.0 ** min(unhelpful, 32), max(first, self.max_interval))
