"""Business users: which ``institutionCustomerId`` a login and a member number stand for.

Source: candescent.md, "Business users": ``GET /db-users/v1/institution-users/{loginId}``.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from cachetools import TTLCache

from proxy.bank_client import BankClient
from proxy.bank_errors import json_object
from proxy.errors import ProxyError, TokenError
from proxy.tokens.token import Token, TokenKind
from proxy.users import HeaderPaths, UserContext

KEPT = 3600.0
"""Seconds that a found customer id is kept."""

FAILURE_KEPT = 10.0
"""Seconds that a failed look-up is remembered, so that it is not repeated for each request."""


@dataclass(frozen=True, slots=True)
class _Key:
    institution: str
    login_id: str
    member_number: str


class BusinessDirectory:
    """Looks customer ids up and keeps them for a while; ``timer`` is monotonic seconds."""

    def __init__(
        self, bank: BankClient, *, new_id: Callable[[], str], timer: Callable[[], float]
    ) -> None:
        self._bank = bank
        self._new_id = new_id
        self._found: TTLCache[_Key, str] = TTLCache(4096, KEPT, timer)
        self._failed: TTLCache[_Key, ProxyError] = TTLCache(4096, FAILURE_KEPT, timer)

    async def customer_id(self, user: UserContext, token: Token) -> str:
        """Return the customer id of a business user. Raises ``ProxyError`` (502, 503)."""
        key = _Key(token.key.institution, user.login_id, user.member_number)
        found = self._found.get(key)
        if found is not None:
            return found
        failed = self._failed.get(key)
        if failed is not None:
            raise lookup_error(failed.detail)
        try:
            self._found[key] = found = await self._look_up(user, token)
        except ProxyError as error:
            self._failed[key] = error
            raise
        return found

    async def _look_up(self, user: UserContext, token: Token) -> str:
        path = f"/db-users/v1/institution-users/{quote(user.login_id, safe='')}?userIdType=LOGIN_ID"
        headers = {
            "Authorization": token.authorization.decode("ascii"),
            "transactionId": self._new_id(),
            "institutionId": token.key.institution,
            "Accept": "application/json",
        }
        try:
            answer = await self._bank.call("GET", path, headers)
        except TokenError as error:
            raise lookup_error("The bank did not answer.") from error
        if answer.status != 200:
            raise lookup_error(f"The bank answered {answer.status}.")
        return customer_in(json_object(answer.body), user.member_number)


def customer_in(document: dict[str, Any], member_number: str) -> str:
    """Return the ``institutionCustomerId`` of a member number. Raises ``ProxyError``."""
    customers = document.get("institutionCustomers")
    for customer in customers if isinstance(customers, list) else []:
        if isinstance(customer, dict) and customer.get("memberNumber") == member_number:
            found = customer.get("institutionCustomerId")
            if isinstance(found, str) and found.isascii() and found.isprintable() and found:
                return found
    raise lookup_error("No customer of this login has the configured member_number.")


def lookup_error(why: str) -> ProxyError:
    """Return the error for a business user that cannot be resolved."""
    return ProxyError(
        "business-user",
        f"The business user could not be looked up. {why}",
        status=503,
        retry_after=FAILURE_KEPT,
    )


class Users:
    """Names the user of calls, for each institution that has a user context."""

    def __init__(
        self,
        contexts: Mapping[str, UserContext],
        header_paths: HeaderPaths,
        directory: BusinessDirectory,
    ) -> None:
        self._contexts = contexts
        self._header_paths = header_paths
        self._directory = directory

    async def name_user(
        self, method: str, target: bytes, own_path: bytes, token: Token
    ) -> tuple[bytes, bytes | None]:
        """Return the target with its user named, and the customer id where a header is wanted.

        ``own_path`` is the path without the base path. Raises ``ProxyError`` when a business
        user has to be looked up and cannot be.
        """
        context = self._contexts.get(token.key.institution)
        if context is None or token.key.kind is not TokenKind.V2:
            return target, None
        customer_id = context.customer_id
        if context.needs_lookup and context.applies_to(target):
            customer_id = await self._directory.customer_id(context, token)
        in_header = self._header_paths.match(method, own_path)
        return context.name_user(target, customer_id, in_header=in_header)
