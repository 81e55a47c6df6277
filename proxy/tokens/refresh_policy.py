"""When tokens are renewed, and how long failures are waited out: the section ``token``."""

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Interval, MinLen

from proxy.errors import TokenFailure, kinds
from proxy.settings import COMMA_SEPARATED, Count, Seconds, SecondsOrZero, setting
from proxy.tokens.token import Instant, Token, TokenKind

RETRY_AFTER_MAX = 3600.0
"""Seconds; a longer ``Retry-After`` of the bank is taken for this."""

Half = Annotated[float, Interval(ge=0, le=0.5)]


@dataclass(frozen=True)
class RefreshPolicy:
    """When tokens are renewed and how failures are waited out (docs/reliability.md)."""

    timeout: Seconds = setting(
        10.0, "Time allowed for each call the proxy makes to the bank for itself, such as a token."
    )
    margin_min: Seconds = setting(
        60.0, "A token is renewed at the latest this long before it expires."
    )
    margin_max: Seconds = setting(
        300.0, "A token is renewed at the earliest this long before it expires, jitter aside."
    )
    margin_fraction: Half = setting(
        0.2,
        "Between `token.margin_min` and `token.margin_max`, a token is renewed this share of its "
        "lifetime before it expires.",
    )
    jitter_fraction: Half = setting(
        0.1, "A renewal is earlier by a random time of up to this share of the token's lifetime."
    )
    jitter_max: Seconds = setting(
        60.0, "Largest random time by which a renewal is earlier (`token.jitter_fraction`)."
    )
    min_interval: Seconds = setting(
        10.0, "A token younger than this is kept even if the bank refuses it."
    )
    backoff_initial: Seconds = setting(
        1.0, "Longest wait after the first failed token call; it doubles with each further failure."
    )
    backoff_max: Seconds = setting(60.0, "Longest wait between two failed token calls.")
    throttle_initial: Seconds = setting(
        10.0,
        "Wait after the bank's first quota or spike error (CMN_90002, CMN_90003); it doubles with "
        "each further one.",
    )
    throttle_max: Seconds = setting(300.0, "Longest wait after quota and spike errors.")
    refusal_memory: Seconds = setting(
        60.0, "Credentials that the bank refused are not tried again for this long."
    )
    start_spread: SecondsOrZero = setting(
        0.0,
        "After a start, the first token is fetched after a random part of this time, or at once "
        "when a request needs it; for roll-outs of many proxies without a shared store.",
    )
    refresh_rate: Annotated[float, Interval(gt=0, le=10_000)] = setting(
        20.0,
        "Renewals started per second when many are due together; short lifetimes that need more "
        "get it, and tokens that requests wait for are not counted.",
    )
    max_refreshes: Count = setting(64, "Largest number of renewals in progress at the same time.")
    idle: Seconds = setting(
        3600.0, "The token of an institution that has had no request for this long is dropped."
    )
    prefetch: Annotated[tuple[TokenKind, ...], MinLen(1), COMMA_SEPARATED] = setting(
        (TokenKind.V2,), "Kinds of token that are fetched before the proxy is ready: v1, v2."
    )

    def start_delay(self, chance: float) -> float:
        """Return how many seconds the first fetch of a start waits when no request needs it."""
        return chance * self.start_spread

    def refresh_age(self, lifetime: float, chance: float) -> float:
        """Return the age, in seconds, at which a token of ``lifetime`` is renewed.

        ``chance`` in [0, 1) moves it earlier by up to a tenth of the lifetime, so that a fleet
        started together does not renew together. Never before half the lifetime, never after
        the end of it, and for a lifetime too short for the margin the spread lies just behind
        its half.
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
        """Return how long to wait, in seconds, after the ``failures``-th failure in a row.

        Refusals are remembered, throttling is waited out (CMN_90002, CMN_90003), all else is
        tried again after an exponential back-off with full jitter. ``retry_after`` is the
        bank's own word and a lower bound.

        ``first`` says that there has been no token yet. Throttled then, we are likely one of
        many that start together, so the next try is anywhere in twice the time.
        """
        asked = min(retry_after or 0.0, RETRY_AFTER_MAX)
        if reason.is_refusal:
            return max(asked, self.refusal_memory)
        doublings = min(failures - 1, 32)
        if reason is kinds.TOKEN_THROTTLED:
            step = min(self.throttle_initial * 2.0**doublings, self.throttle_max)
            if first:
                spread = min(2 * step, self.throttle_max)
                return max(asked, self.throttle_initial / 4) + chance * spread
            return max(asked, step / 2) + chance * step / 2
        step = min(self.backoff_initial * 2.0**doublings, self.backoff_max)
        return max(asked + chance * step, self.backoff_initial / 10)

    def may_reject(self, token: Token, now: Instant) -> bool:
        """Whether a token that the bank refused may be thrown away.

        One minted moments ago is kept: if the bank refuses even that, another will not help,
        and throwing it away would turn every refusal into a token request.
        """
        return now.since(token.issued) >= min(self.min_interval, token.lifetime / 2)
