"""Adds the configured user to calls that name none.

With a client_credentials token the bank requires the user of a call: ``hostUserId`` or ``loginId``
in the query, and ``institutionCustomerId`` for business users. Source: candescent.md, "V2 tokens".
"""

from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import quote_from_bytes, unquote_plus

from proxy.forwarding.paths import segments, split_target
from proxy.forwarding.patterns import Pattern

_USER_NAMES = frozenset({"hostuserid", "loginid"})
# $apply pages through all locations of a business, so no customer may be added.
_CUSTOMER_NAMES = frozenset({"institutioncustomerid", "$apply"})
_NAMED_IN_PATH = frozenset({b"institution-users", b"user-status", b"customers", b"mx"})


@dataclass(frozen=True, slots=True)
class UserContext:
    """The default user for an institution's calls that name none.

    At most one of ``host_user_id`` and ``login_id`` is set. ``customer_id`` is a business user's
    ``institutionCustomerId``; with ``member_number`` (TIN or EIN) it is looked up instead.
    """

    host_user_id: str = ""
    login_id: str = ""
    member_number: str = ""
    customer_id: str = ""

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to add."""
        return not (self.host_user_id or self.login_id or self.customer_id)

    @property
    def needs_lookup(self) -> bool:
        """Whether the customer id has to be looked up."""
        return bool(self.member_number) and not self.customer_id

    def applies_to(self, target: bytes) -> bool:
        """Whether neither the path nor the query of a call names a user."""
        path, query = split_target(target)
        parts = segments(path)
        # /v1/customers/{id}:accounts requires both the customer and the user.
        in_path = not _NAMED_IN_PATH.isdisjoint(parts) and not parts[-1].endswith(b":accounts")
        return not in_path and _USER_NAMES.isdisjoint(query_names(query))

    def add_to(
        self, target: bytes, customer_id: str, *, in_header: bool
    ) -> tuple[bytes, bytes | None]:
        """Return ``target`` with the user in its query, and the customer id if sent as a header.

        The caller's target stays byte for byte; one that names a user is returned unchanged.
        """
        if not self.applies_to(target):
            return target, None
        added = []
        if self.host_user_id:
            added.append((b"hostUserId", self.host_user_id))
        elif self.login_id:
            added.append((b"loginId", self.login_id))
        header = None
        if customer_id and not names_customer(target):
            if in_header:
                header = customer_id.encode("ascii")
            else:
                added.append((b"institutionCustomerId", customer_id))
        return with_query(target, added), header


def names_customer(target: bytes) -> bool:
    """Whether the query of a call names a business's customer, or asks for all of them."""
    return not _CUSTOMER_NAMES.isdisjoint(query_names(split_target(target)[1]))


def query_names(query: bytes) -> set[str]:
    """Return the parameter names in a query, decoded and in lower case."""
    pairs = query.removeprefix(b"?").replace(b";", b"&").split(b"&")
    return {unquote_plus(pair.partition(b"=")[0].decode("latin-1")).lower() for pair in pairs}


def with_query(target: bytes, added: Iterable[tuple[bytes, str]]) -> bytes:
    """Return ``target`` with parameters added to its query."""
    for name, value in added:
        if target[-1:] not in (b"?", b"&"):
            target += b"&" if b"?" in target else b"?"
        target += name + b"=" + quote_from_bytes(value.encode(), safe="").encode("ascii")
    return target


@dataclass(frozen=True, slots=True)
class HeaderPaths:
    """The paths on which the bank requires ``institutionCustomerId`` as a header."""

    patterns: tuple[Pattern, ...]

    def match(self, method: str, path: bytes) -> bool:
        """Whether one of the paths matches a request."""
        parts = segments(path)
        return any(pattern.matches(method, parts) for pattern in self.patterns)
