"""The settings of the sandbox bank, which can change while it runs.

``Settings`` is frozen; a change replaces the whole object, so that a request in flight sees one
consistent version. ``settings_json.py`` converts them from and to JSON.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from proxy.sandbox.codes import error_spec


@dataclass(frozen=True)
class Business:
    """A business entity that a user may act for, as institution-users lists it."""

    institution_customer_id: str
    member_number: str
    name: str


@dataclass(frozen=True)
class User:
    """A digital banking user. With ``businesses`` it is a business user, otherwise retail."""

    username: str
    password: str = field(repr=False)
    login_id: str
    host_user_id: str
    institution: str = "00016"
    member_number: str = ""
    fi_customer_id: str = ""
    businesses: tuple[Business, ...] = ()
    blocked: bool = False


#: The users of the sandbox, all made up.
USERS = (
    User(
        "juniper", "moonlight", "juniper.quill", "880017", "00016",
        member_number="100200300", fi_customer_id="5f1d7a8e-0c54-4b1e-9d0a-6f2f6f7c1a01",
    ),
    User(
        "basil", "sundial", "basil.thyme", "880018", "00017",
        member_number="100200301", fi_customer_id="5f1d7a8e-0c54-4b1e-9d0a-6f2f6f7c1a02",
    ),
    User(
        "acorn", "lanterns", "acorn.owner", "880019", "00016",
        businesses=(
            Business("770001", "12-3456789", "Acorn & Daughters Bakery"),
            Business("770002", "98-7654321", "Acorn Bicycle Repair"),
        ),
    ),
    User("mallow", "raincoat", "mallow.fern", "880020", "00016", blocked=True),
)  # fmt: skip

#: The scopes of V2 tokens; a token request without ``scopes`` gets all of them.
SCOPES = (
    "accounts:read",
    "transactions:read",
    "transfers:write",
    "images:read",
    "users:read",
)


@dataclass(frozen=True)
class Settings:
    """The bank's settings. Times are seconds.

    Identity: ``clients`` maps client ids to secrets. ``institutions`` are the known ones,
    ``unauthorised`` those that no client may use; ``client_institutions`` restricts a client.

    Tokens: ``lifetime`` (V2), ``v1_lifetime`` and ``refresh_token_lifetime`` may be fractions;
    ``expires_in`` is sent in whole seconds, at least ``least_expires_in``.
    ``institution_lifetimes`` sets the V2 lifetime by institution. ``seed`` makes tokens
    predictable. ``issuing`` says what a V2 token request gets: a ``new`` token, the ``same`` one
    until it has expired, or the ``only`` one, which revokes those before. New V2 tokens are
    refused for ``activation`` seconds, as by a replica that does not know them yet.

    Limits: ``quota`` requests per ``quota_window`` and ``spike`` requests per second, counted per
    client or per institution of a client (``limits_per``), at the token endpoints, at resources,
    or both (``limits_on``). The error is CMN_90002 or CMN_90003 (V1: 91000 or 92000) with
    ``limit_status``, in the format ``limited_as``, with ``Retry-After`` if ``retry_after`` is set.

    Refused tokens: the spellings (``codes.py``) for an expired and for an unknown token.
    """

    clients: Mapping[str, str] = field(
        default_factory=lambda: {"sandbox-client": "sandbox-secret"}, repr=False
    )
    institutions: tuple[str, ...] = ("00016", "00017", "00018")
    unauthorised: frozenset[str] = frozenset()
    client_institutions: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    users: tuple[User, ...] = field(default=USERS, repr=False)
    scopes: tuple[str, ...] = SCOPES

    lifetime: float = 3600.0
    v1_lifetime: float = 1800.0
    refresh_token_lifetime: float = 86400.0
    institution_lifetimes: Mapping[str, float] = field(default_factory=dict)
    least_expires_in: int = 1
    seed: int | None = None
    issuing: str = "new"
    activation: float = 0.0
    v1_format: str = "xml"

    quota: int | None = None
    quota_window: float = 60.0
    spike: int | None = None
    limits_on: str = "token"
    limits_per: str = "client"
    limit_status: int = 500
    limited_as: str = "cmn"
    retry_after: int | None = None

    expired_as: str = "CMN_90018"
    unknown_as: str = "CMN_90018"
    v1_expired_as: str = "90001"
    v1_unknown_as: str = "90001"
    unauthorised_as: str = "CMN_90006"
    user_required: bool = False

    latency: float = 0.0
    token_latency: float = 0.0
    base_path: str = ""
    public_url: str | None = None

    def __post_init__(self) -> None:
        """Raise ``ValueError`` that names the setting if a value is invalid."""
        for name, allowed in CHOICES.items():
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name}: expected one of {', '.join(allowed)}")
        for name in SPELLINGS:
            error_spec(getattr(self, name))
        for name in DURATIONS:
            seconds(name, getattr(self, name))
        for name in ("quota", "spike"):
            if (limit := getattr(self, name)) is not None and limit < 0:
                raise ValueError(f"{name}: expected a count of requests, or null for no limit")
        if not 400 <= self.limit_status <= 599:
            raise ValueError("limit_status: expected a status between 400 and 599")
        if self.base_path and (self.base_path[0] != "/" or self.base_path[-1] == "/"):
            raise ValueError("base_path: expected a path that begins, but does not end, with a /")
        if unfit := [name for name in self.institutions if not name.isdecimal()]:
            raise ValueError(f"institutions: expected digits, not {unfit[0]!r}")

    def may_use(self, client: str, institution: str) -> bool:
        """Whether a client is authorised for an institution."""
        allowed = self.client_institutions.get(client, self.institutions)
        return institution in allowed and institution not in self.unauthorised

    def lifetime_of(self, institution: str) -> float:
        """Return the lifetime of an institution's V2 access tokens in seconds."""
        return self.institution_lifetimes.get(institution, self.lifetime)

    def user(self, login_id: str) -> User | None:
        """Return the user with this login id, or ``None``."""
        return next((user for user in self.users if user.login_id == login_id), None)


CHOICES = {
    "v1_format": ("xml", "prefixed", "json"),
    "issuing": ("new", "same", "only"),
    "limits_on": ("token", "resource", "both"),
    "limits_per": ("client", "institution"),
    "limited_as": ("cmn", "apigee"),
}
SPELLINGS = ("expired_as", "unknown_as", "v1_expired_as", "v1_unknown_as", "unauthorised_as")
DURATIONS = (
    "lifetime",
    "v1_lifetime",
    "refresh_token_lifetime",
    "quota_window",
    "activation",
    "latency",
    "token_latency",
)


def seconds(name: str, value: Any) -> float:
    """Return ``value`` if it is a duration; raise ``ValueError`` that names the setting."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError(f"{name}: expected seconds, a number")
    if value < 0 or not math.isfinite(value):
        raise ValueError(f"{name}: expected seconds, zero or more")
    return float(value)
