"""The bank's books: what was issued, revoked, counted, and what arrived. No I/O.

Time comes from the ``clock`` given (seconds since the epoch), randomness from ``Settings.seed``
where that is set.
"""

from __future__ import annotations

import random
import secrets
import string
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Literal

from proxy.sandbox.bank_settings import Settings, User
from proxy.sandbox.faults import Fault
from proxy.sandbox.request_limits import RequestLimits

Generation = Literal["V1", "V2"]
_LETTERS = string.ascii_letters + string.digits
#: How many tokens the books hold before dead ones are struck out.
_FULL = 20_000


@dataclass
class IssuedToken:
    """A token the bank has given out: access or refresh token, of either generation.

    ``family`` ties a refresh token to the access tokens made with it, through every rotation.
    ``expires_at`` is in seconds since the epoch.
    """

    generation: Generation
    client: str
    institution: str
    grant: str
    user: User | None = field(default=None, repr=False)
    scopes: tuple[str, ...] = ()
    family: int = 0
    refresh: bool = False
    revoked: bool = False
    expires_at: float = 0.0
    text: str = field(default="", repr=False)


@dataclass
class Arrival:
    """One request at a resource, as it came in.

    ``headers`` are the raw pairs in order and case. ``body`` is kept up to 16 KiB, larger ones
    are counted only; ``complete`` says whether the body has been read to its end.
    ``status`` is what was answered, 0 while nothing was.
    """

    time: float
    method: str
    target: str
    headers: list[tuple[bytes, bytes]] = field(repr=False)
    body: bytes = field(default=b"", repr=False)
    body_length: int = 0
    body_sha256: str = ""
    complete: bool = False
    status: int = 0
    outcome: str = ""

    def all(self, name: str) -> list[str]:
        """Every value of this header, in order, the name in any case."""
        wanted = name.lower().encode()
        return [value.decode("latin-1") for key, value in self.headers if key.lower() == wanted]

    def header(self, name: str) -> str | None:
        """The first value of this header, or ``None``."""
        return next(iter(self.all(name)), None)


@dataclass
class TokenArrival:
    """One request at a token endpoint. ``outcome`` is ``ok``, an error code, or a fault's name."""

    time: float
    kind: Generation
    grant: str
    institution: str
    client: str
    headers: list[tuple[bytes, bytes]] = field(repr=False)
    outcome: str = ""


class Bank:
    """Everything the bank knows. Tests look at it, and change it.

    ``settings`` may be replaced and ``faults`` changed at any time.
    """

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.time) -> None:
        """Open the books."""
        self.settings = settings
        self.clock = clock
        self.url = ""
        self.faults: list[Fault] = []
        self.limits = RequestLimits()
        self.tokens: dict[str, IssuedToken] = {}
        self.codes: dict[str, tuple[str, str, str]] = {}
        self.random = random.Random(settings.seed)  # noqa: S311  # only where a seed is asked for
        self.families = 0
        self._full = _FULL
        self.started = clock()
        self._open()

    def _open(self) -> None:
        self.arrivals: deque[Arrival] = deque(maxlen=2000)
        self.token_requests: deque[TokenArrival] = deque(maxlen=5000)
        self.revocations: deque[str] = deque(maxlen=2000)
        self.events: deque[tuple[str, str, bytes]] = deque(maxlen=500)
        #: How often each payment was made, by the ``transactionId`` it came with.
        self.transfers: Counter[str] = Counter()
        self.counts: Counter[str] = Counter()

    def reset(self) -> None:
        """Forget what arrived, the counts, limits and faults; tokens stay good."""
        self._open()
        self.limits = RequestLimits()
        self.faults.clear()

    # tokens

    def issue(self, draft: IssuedToken, lifetime: float) -> IssuedToken:
        """A new token made from this draft, good for ``lifetime`` seconds from now."""
        if len(self.tokens) >= self._full:
            self._drop_expired()
        token = replace(draft, text=self._text(), expires_at=self.clock() + lifetime)
        self.tokens[token.text] = token
        self.counts["issued"] += 1
        return token

    def new_family(self) -> int:
        """The number of a new family of tokens."""
        self.families += 1
        return self.families

    def code_for(self, login_id: str, *, client: str = "", institution: str = "") -> str:
        """A new authorization code, good once, for this user (CMN_90016 if there is none)."""
        user = self.settings.user(login_id)
        code = self._text()
        self.codes[code] = (client, institution or (user.institution if user else ""), login_id)
        return code

    def is_valid(self, token: IssuedToken) -> bool:
        """Whether this token is neither revoked nor past its time."""
        return not token.revoked and self.clock() < token.expires_at

    def live_tokens(self, institution: str | None = None) -> Iterator[IssuedToken]:
        """The access tokens that are good now."""
        for token in self.tokens.values():
            if (
                not token.refresh
                and institution in (None, token.institution)
                and self.is_valid(token)
            ):
                yield token

    def revoke(self, text: str) -> bool:
        """Revoke a token; a refresh token takes its access tokens with it. False if unknown."""
        token = self.tokens.get(text)
        if token is None:
            return False
        token.revoked = True
        if token.refresh:
            for other in self.tokens.values():
                other.revoked = other.revoked or other.family == token.family
        self.revocations.append(text)
        return True

    def expire_all(self, *, institution: str | None = None, refresh_tokens: bool = False) -> int:
        """End every access token now (and refresh tokens, if asked); says how many."""
        ended = list(self.live_tokens(institution))
        if refresh_tokens:
            ended += [
                token
                for token in self.tokens.values()
                if token.refresh
                and institution in (None, token.institution)
                and self.is_valid(token)
            ]
        now = self.clock()
        for token in ended:
            token.expires_at = now
        return len(ended)

    def _text(self) -> str:
        pick = secrets.choice if self.settings.seed is None else self.random.choice
        return "".join(pick(_LETTERS) for _ in range(28))

    def _drop_expired(self) -> None:
        self.tokens = {text: token for text, token in self.tokens.items() if self.is_valid(token)}
        self._full = max(_FULL, 2 * len(self.tokens))

    # limits

    def over_limit(self, client: str, institution: str) -> Literal["quota", "spike"] | None:
        """Count one request of this client, or say which limit it would break."""
        rules = self.settings
        key = (client, institution if rules.limits_per == "institution" else "")
        return self.limits.exceeded(
            key, self.clock(), quota=rules.quota, window=rules.quota_window, spike=rules.spike
        )
