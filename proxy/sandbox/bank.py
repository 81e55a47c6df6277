"""The bank's state: issued and revoked tokens, counters, and received requests.

``clock`` returns Unix seconds. Tokens are random, or follow from ``Settings.seed`` if it is set.
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
#: Number of stored tokens above which expired and revoked ones are removed.
_FULL = 20_000


@dataclass
class IssuedToken:
    """An issued access or refresh token, V1 or V2.

    ``family`` connects a refresh token with the access tokens issued for it, across rotations.
    ``expires_at`` and ``active_at`` are in Unix seconds.
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
    active_at: float = 0.0
    text: str = field(default="", repr=False)


@dataclass
class Arrival:
    """One request to a resource, as received.

    ``headers`` are the raw pairs in their order and case. ``body`` is stored up to 16 KiB; of a
    larger one only length and digest are. ``complete`` is true once the body has been read to its
    end. ``status`` is the status of the response, 0 before there is one.
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
        """Return all values of a header in their order; the name is case-insensitive."""
        key_name = name.lower().encode()
        return [value.decode("latin-1") for key, value in self.headers if key.lower() == key_name]

    def header(self, name: str) -> str | None:
        """Return the first value of a header, or ``None``."""
        return next(iter(self.all(name)), None)


@dataclass
class TokenArrival:
    """One request to a token endpoint. ``outcome`` is ``ok``, an error code or a fault's name."""

    time: float
    kind: Generation
    grant: str
    institution: str
    client: str
    headers: list[tuple[bytes, bytes]] = field(repr=False)
    outcome: str = ""


class Bank:
    """The state of the bank, which tests read and change.

    ``settings`` may be replaced and ``faults`` changed at any time.
    """

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.time) -> None:
        """Create a bank without tokens."""
        self.settings = settings
        self.clock = clock
        self.url = ""
        self.faults: list[Fault] = []
        self.limits = RequestLimits()
        self.tokens: dict[str, IssuedToken] = {}
        self.codes: dict[str, tuple[str, str, str]] = {}
        self.random = random.Random(settings.seed)  # noqa: S311  # used only with a seed
        self.families = 0
        self._full = _FULL
        self.started = clock()
        self._open()

    def _open(self) -> None:
        self.arrivals: deque[Arrival] = deque(maxlen=2000)
        self.token_requests: deque[TokenArrival] = deque(maxlen=5000)
        self.revocations: deque[str] = deque(maxlen=2000)
        self.events: deque[tuple[str, str, bytes]] = deque(maxlen=500)
        #: Number of transfers by their ``transactionId``.
        self.transfers: Counter[str] = Counter()
        self.counts: Counter[str] = Counter()

    def reset(self) -> None:
        """Clear received requests, counters, limits and faults; tokens stay valid."""
        self._open()
        self.limits = RequestLimits()
        self.faults.clear()

    # tokens

    def issue(self, draft: IssuedToken, lifetime: float) -> IssuedToken:
        """Return a new token made from ``draft``, valid for ``lifetime`` seconds from now."""
        if len(self.tokens) >= self._full:
            self._drop_expired()
        token = replace(draft, text=self._text(), expires_at=self.clock() + lifetime)
        self.tokens[token.text] = token
        self.counts["issued"] += 1
        return token

    def issued_before(self, draft: IssuedToken) -> IssuedToken | None:
        """Return the live token that a request for ``draft`` gets again (``Settings.issuing``).

        Or revoke such tokens, and return None.
        """
        if self.settings.issuing == "new":
            return None
        owner = (draft.generation, draft.client, draft.user)
        former = [
            token
            for token in self.live_tokens(draft.institution)
            if (token.generation, token.client, token.user) == owner
        ]
        if self.settings.issuing == "same":
            return former[0] if former else None
        for token in former:
            token.revoked = True
        return None

    def new_family(self) -> int:
        """Return the number of a new token family."""
        self.families += 1
        return self.families

    def code_for(self, login_id: str, *, client: str = "", institution: str = "") -> str:
        """Return a new authorization code for a user, valid once.

        Exchanging a code of an unknown user fails with CMN_90016.
        """
        user = self.settings.user(login_id)
        code = self._text()
        self.codes[code] = (client, institution or (user.institution if user else ""), login_id)
        return code

    def is_valid(self, token: IssuedToken) -> bool:
        """Whether a token is neither revoked nor expired."""
        return not token.revoked and self.clock() < token.expires_at

    def live_tokens(self, institution: str | None = None) -> Iterator[IssuedToken]:
        """Yield the access tokens that are valid now."""
        for token in self.tokens.values():
            if (
                not token.refresh
                and institution in (None, token.institution)
                and self.is_valid(token)
            ):
                yield token

    def revoke(self, text: str) -> bool:
        """Revoke a token, and with a refresh token its access tokens; return False if unknown."""
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
        """Expire all access tokens, and refresh tokens if asked; return their number."""
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
        """Count one request of a client, or return the limit that it exceeds."""
        rules = self.settings
        key = (client, institution if rules.limits_per == "institution" else "")
        return self.limits.exceeded(
            key, self.clock(), quota=rules.quota, window=rules.quota_window, spike=rules.spike
        )
