"""Business users: looks up the ``institutionCustomerId`` of a login and a member number.

Source: candescent.md, "Business users": ``GET {path}/{loginId}?userIdType=LOGIN_ID``.
"""

import asyncio
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote
from weakref import WeakValueDictionary

from cachetools import LRUCache, TTLCache

from proxy.errors import ErrorKind, ProxyError, TokenError, kinds
from proxy.forwarding.user_context import HeaderPaths, UserContext, names_customer
from proxy.tokens.cache import TokenCache
from proxy.tokens.held import Reaction
from proxy.tokens.token import Token, TokenKey, TokenKind
from proxy.upstream.bank_client import BankClient, BankResponse
from proxy.upstream.bank_errors import json_object, read_error, refuses_token

CACHE_TTL = 3600.0
"""Seconds that a customer id is cached."""

FAILURE_TTL = 10.0
"""Seconds that a failed look-up is cached, so that it is not repeated for each request."""

_CUSTOMER_ID = re.compile(r"[\x21-\x7e]{1,200}")


@dataclass(frozen=True, slots=True)
class _Lookup:
    key: TokenKey
    login_id: str
    member_number: str


class BusinessUserDirectory:
    """Looks up and caches customer ids; ``timer`` returns monotonic seconds.

    ``path`` is the institution-users resource, whose prefix depends on the base URL. A cached id
    is used beyond ``CACHE_TTL`` while the look-up fails.
    """

    def __init__(
        self,
        bank: BankClient,
        tokens: TokenCache,
        *,
        path: str,
        new_id: Callable[[], str],
        timer: Callable[[], float],
    ) -> None:
        self._bank = bank
        self._path = path
        self._tokens = tokens
        self._new_id = new_id
        self._fresh: TTLCache[_Lookup, str] = TTLCache(4096, CACHE_TTL, timer)
        self._known: LRUCache[_Lookup, str] = LRUCache(4096)
        self._failed: TTLCache[_Lookup, tuple[ErrorKind, str]] = TTLCache(4096, FAILURE_TTL, timer)
        self._pending: WeakValueDictionary[_Lookup, asyncio.Lock] = WeakValueDictionary()

    async def customer_id(self, user: UserContext, key: TokenKey) -> str:
        """Return the customer id of a business user.

        Raises ``ProxyError`` (503), and ``TokenError`` without a token for the look-up.
        """
        lookup = _Lookup(key, user.login_id, user.member_number)
        customer_id = self._fresh.get(lookup)
        if customer_id is not None:
            return customer_id
        lock = self._pending.setdefault(lookup, asyncio.Lock())
        async with lock:
            if lookup not in self._fresh and lookup not in self._failed:
                await self._renew(lookup)
        known = self._known.get(lookup)
        if known is None:
            raise ProxyError(*self._failed.get(lookup, (kinds.BUSINESS_USER_LOOKUP, "")))
        return known

    async def _renew(self, lookup: _Lookup) -> None:
        try:
            response = await self._ask(lookup)
        except _LookupFailedError as error:
            self._failed[lookup] = _lookup_failed(str(error))
            return
        if response.status != 200:
            self._failed[lookup] = _lookup_failed(f"The bank responded {response.status}.")
            return
        customer_id = customer_in(json_object(response.body), lookup.member_number)
        if customer_id is None:
            self._known.pop(lookup, None)
            self._failed[lookup] = kinds.BUSINESS_USER_UNKNOWN, ""
        else:
            self._fresh[lookup] = self._known[lookup] = customer_id

    async def _ask(self, lookup: _Lookup) -> BankResponse:
        """Ask the bank, at most twice more where it refuses the token."""
        for _ in range(2):
            token = await self._tokens.token(lookup.key)
            response = await self._call(lookup, token)
            if not refuses_token(response.status, read_error(response.body)):
                return response
            reaction = self._tokens.reject(token)
            if reaction is Reaction.KEPT:
                return response
            if reaction is Reaction.DROPPED:
                break
        return await self._call(lookup, await self._tokens.token(lookup.key))

    async def _call(self, lookup: _Lookup, token: Token) -> BankResponse:
        login_id = quote(lookup.login_id, safe="")
        headers = {
            "Authorization": token.authorization.decode("ascii"),
            "transactionId": self._new_id(),
            "institutionId": lookup.key.institution,
            "Accept": "application/json",
        }
        path = f"{self._path}/{login_id}?userIdType=LOGIN_ID"
        try:
            return await self._bank.call("GET", path, headers)
        except TokenError as error:
            raise _LookupFailedError(error.detail) from error


class _LookupFailedError(Exception):
    """The look-up itself failed, not the request for its token."""


def customer_in(document: dict[str, Any], member_number: str) -> str | None:
    """Return the ``institutionCustomerId`` of a member number, if there is a usable one."""
    customers = document.get("institutionCustomers")
    for customer in customers if isinstance(customers, list) else []:
        if isinstance(customer, dict) and _text(customer.get("memberNumber")) == member_number:
            customer_id = _text(customer.get("institutionCustomerId"))
            if _CUSTOMER_ID.fullmatch(customer_id):
                return customer_id
    return None


def _text(value: object) -> str:
    return str(value) if isinstance(value, str | int) else ""


def _lookup_failed(why: str) -> tuple[ErrorKind, str]:
    kind = kinds.BUSINESS_USER_LOOKUP
    return kind, f"{kind.cause} {why}"


class UserContextInjector:
    """Adds the configured user to calls, per institution."""

    def __init__(
        self,
        contexts: Mapping[str, UserContext],
        header_paths: HeaderPaths,
        directory: BusinessUserDirectory,
    ) -> None:
        self._contexts = contexts
        self._header_paths = header_paths
        self._directory = directory

    async def inject(
        self, method: str, target: bytes, own_path: bytes, key: TokenKey, *, has_customer: bool
    ) -> tuple[bytes, bytes | None]:
        """Return the target with the user in its query, and the customer id if sent as a header.

        ``own_path`` is the path without the base path; ``has_customer`` whether a header of the
        caller's names the customer. Raises ``ProxyError`` when a business user's look-up fails.
        """
        context = self._contexts.get(key.institution)
        if context is None or key.kind is not TokenKind.V2 or not context.applies_to(target):
            return target, None
        customer_id = ""
        if not has_customer and not names_customer(target):
            customer_id = context.customer_id
            if context.needs_lookup:
                customer_id = await self._directory.customer_id(context, key)
        in_header = self._header_paths.match(method, own_path)
        return context.add_to(target, customer_id, in_header=in_header)
