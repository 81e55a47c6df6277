"""Business users: which ``institutionCustomerId`` a login and a member number stand for.

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
from proxy.tokens.token import Token, TokenKey, TokenKind
from proxy.upstream.bank_client import BankClient, BankResponse
from proxy.upstream.bank_errors import json_object, read_error, refuses_token

CACHE_TTL = 3600.0
"""Seconds that a found customer id is kept."""

FAILURE_TTL = 10.0
"""Seconds that a failed look-up is remembered, so that it is not repeated for each request."""

_CUSTOMER_ID = re.compile(r"[\x21-\x7e]{1,200}")


@dataclass(frozen=True, slots=True)
class _Lookup:
    key: TokenKey
    login_id: str
    member_number: str


class BusinessUserDirectory:
    """Looks customer ids up and keeps them for a while; ``timer`` is monotonic seconds.

    ``path`` is the institution-users resource, which has another prefix at some bases. A customer
    that was found is used past its time when the bank cannot be asked again.
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

        Raises ``ProxyError`` (503), and ``TokenError`` when there is no token to ask with.
        """
        wanted = _Lookup(key, user.login_id, user.member_number)
        found = self._fresh.get(wanted)
        if found is not None:
            return found
        lock = self._pending.setdefault(wanted, asyncio.Lock())
        async with lock:
            if wanted not in self._fresh and wanted not in self._failed:
                await self._renew(wanted)
        known = self._known.get(wanted)
        if known is None:
            raise ProxyError(*self._failed.get(wanted, (kinds.BUSINESS_USER_LOOKUP, "")))
        return known

    async def _renew(self, wanted: _Lookup) -> None:
        try:
            answer = await self._ask(wanted)
        except _LookupFailedError as error:
            self._failed[wanted] = _lookup_failed(str(error))
            return
        if answer.status != 200:
            self._failed[wanted] = _lookup_failed(f"The bank responded {answer.status}.")
            return
        found = customer_in(json_object(answer.body), wanted.member_number)
        if found is None:
            self._known.pop(wanted, None)
            self._failed[wanted] = kinds.BUSINESS_USER_UNKNOWN, ""
        else:
            self._fresh[wanted] = self._known[wanted] = found

    async def _ask(self, wanted: _Lookup) -> BankResponse:
        token = await self._tokens.token(wanted.key)
        answer = await self._call(wanted, token)
        if refuses_token(answer.status, read_error(answer.body)) and self._tokens.reject(token):
            answer = await self._call(wanted, await self._tokens.token(wanted.key))
        return answer

    async def _call(self, wanted: _Lookup, token: Token) -> BankResponse:
        login_id = quote(wanted.login_id, safe="")
        headers = {
            "Authorization": token.authorization.decode("ascii"),
            "transactionId": self._new_id(),
            "institutionId": wanted.key.institution,
            "Accept": "application/json",
        }
        path = f"{self._path}/{login_id}?userIdType=LOGIN_ID"
        try:
            return await self._bank.call("GET", path, headers)
        except TokenError as error:
            raise _LookupFailedError(error.detail) from error


class _LookupFailedError(Exception):
    """The look-up itself failed, not the token for it."""


def customer_in(document: dict[str, Any], member_number: str) -> str | None:
    """Return the ``institutionCustomerId`` of a member number, if there is a usable one."""
    customers = document.get("institutionCustomers")
    for customer in customers if isinstance(customers, list) else []:
        if isinstance(customer, dict) and _text(customer.get("memberNumber")) == member_number:
            found = _text(customer.get("institutionCustomerId"))
            if _CUSTOMER_ID.fullmatch(found):
                return found
    return None


def _text(value: object) -> str:
    return str(value) if isinstance(value, str | int) else ""


def _lookup_failed(why: str) -> tuple[ErrorKind, str]:
    kind = kinds.BUSINESS_USER_LOOKUP
    return kind, f"{kind.cause} {why}"


class UserContextInjector:
    """Names the user of calls, for each institution that has a user context."""

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
        """Return the target with its user named, and the customer id where a header is wanted.

        ``own_path`` is the path without the base path; ``has_customer`` whether a header of the
        caller's names the customer. Raises ``ProxyError`` when a business user has to be looked
        up and cannot be.
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
