"""The V2 resources: accounts, transactions, images, transfers, customers, institution-users.

Each is a function from ``Visit`` to ``Reply``. The paths are the public ones (candescent.md);
the bodies are made up in the vendor's format.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote

from proxy.sandbox import payloads, samples
from proxy.sandbox.bank import Bank, IssuedToken
from proxy.sandbox.bank_settings import Business, User
from proxy.sandbox.call import SMALL, Call, Reply, json_reply
from proxy.sandbox.call_checks import RefusedError


@dataclass(frozen=True)
class Visit:
    """An authenticated call. ``named`` are the parameters of its path."""

    call: Call
    bank: Bank
    token: IssuedToken
    named: tuple[str, ...] = ()


Resource = Callable[[Visit], Reply]


def accounts(visit: Visit) -> Reply:
    """``GET /v1/accounts`` and ``/db-accounts/v1/accounts``."""
    user, business = _customer(visit)
    return json_reply({"accounts": samples.accounts(user, business)})


def customer_accounts(visit: Visit) -> Reply:
    """``GET /v1/customers/{id}:accounts`` (a literal colon); the id is a hostUserId."""
    user = _find(visit, lambda user: user.host_user_id == visit.named[0])
    return json_reply({"customerId": user.host_user_id, "accounts": samples.accounts(user, None)})


def transactions(visit: Visit) -> Reply:
    """``GET /v1/transactions?accountId=``, paged by ``limit`` and ``offset``, absolute links."""
    account = visit.call.arguments.get("accountId")
    if not account:
        raise RefusedError("CMN_90011", "Query param accountId is missing")
    limit = max(1, whole_number(visit, "limit", 10))
    offset = whole_number(visit, "offset", 0)
    every = samples.transactions(account)
    links = [_page(visit, "self", account, limit, offset)]
    if offset + limit < len(every):
        links.append(_page(visit, "next", account, limit, offset + limit))
    if offset > 0:
        links.append(_page(visit, "prev", account, limit, max(0, offset - limit)))
    page = every[offset : offset + limit]
    return json_reply({"transactions": page, "total": len(every), "links": links})


def banking_image(visit: Visit) -> Reply:
    """``GET /v1/banking-images/{id}``: an image in base64 within JSON.

    ``?bytes=N`` returns N bytes of a pattern (``payloads.py``) instead.
    """
    number = unquote(visit.named[0])
    if "bytes" not in visit.call.arguments:
        picture = base64.b64encode(samples.cheque(number)).decode()
        return json_reply({"imageId": number, "contentType": "image/png", "image": picture})
    size = whole_number(visit, "bytes", 0)
    start = json.dumps({"imageId": number, "contentType": "image/x-pattern"})[:-1]
    head, foot = f'{start}, "image": "'.encode(), b'"}'

    def chunks() -> Iterator[bytes]:
        yield head
        yield from payloads.base64_pattern(size)
        yield foot

    length = len(head) + payloads.base64_length(size) + len(foot)
    return Reply(headers=(("Content-Type", "application/json"),), body=chunks, length=length)


def transfer(visit: Visit) -> Reply:
    """``POST /v1/transfers``: makes a transfer on each call, so it is not idempotent.

    ``bank.transfers`` counts the transfers by ``transactionId``.
    """
    order = json_object(visit.call)
    transaction = visit.call.header("transactionId") or ""
    visit.bank.transfers[transaction] += 1
    number = f"tr-{visit.bank.transfers.total():06d}"
    return json_reply({"transferId": number, "status": "ACCEPTED", "order": order}, status=201)


def institution_user(visit: Visit) -> Reply:
    """``GET /db-users/v1/institution-users/{id}?userIdType=LOGIN_ID``: a user and its businesses.

    CMN_90016 for a user of another institution, CMN_90011 for another ``userIdType``.
    """
    if visit.call.arguments.get("userIdType") != "LOGIN_ID":
        raise RefusedError("CMN_90011", "Query param userIdType is invalid: expected LOGIN_ID")
    login_id = unquote(visit.named[0])
    user = _find(visit, lambda user: user.login_id == login_id)
    customers = [
        {
            "institutionCustomerId": business.institution_customer_id,
            "memberNumber": business.member_number,
            "name": business.name,
        }
        for business in user.businesses
    ]
    return json_reply(
        {
            "loginId": user.login_id,
            "hostUserId": user.host_user_id,
            "userType": "BUSINESS" if user.businesses else "RETAIL",
            "institutionCustomers": customers,
        }
    )


#: Method, pattern of the raw path, and what answers.
ROUTES: tuple[tuple[str, re.Pattern[str], Resource], ...] = (
    ("GET", re.compile(r"/(?:db-accounts/)?v1/accounts"), accounts),
    ("GET", re.compile(r"/v1/customers/([^/]+):accounts"), customer_accounts),
    ("GET", re.compile(r"/v1/transactions"), transactions),
    ("GET", re.compile(r"/v1/banking-images/([^/]+)"), banking_image),
    ("POST", re.compile(r"/v1/transfers"), transfer),
    ("GET", re.compile(r"/db-users/v1/institution-users/([^/]+)"), institution_user),
)


def whole_number(visit: Visit, name: str, default: int) -> int:
    """Return a query parameter that is a whole number; raise CMN_90011 otherwise."""
    text = visit.call.arguments.get(name, str(default))
    if not (text.isascii() and text.isdecimal() and len(text) < 16):
        raise RefusedError("CMN_90011", f"Query param {name} is invalid: expected a number")
    return int(text)


def json_object(call: Call) -> dict[str, Any]:
    """Return the body as a JSON object of at most 64 KiB; raise CMN_90011 otherwise."""
    try:
        value = json.loads(call.body if call.body_length <= SMALL else b"")
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise RefusedError("CMN_90011", "Request is invalid: expected a JSON object")
    return value


def _find(visit: Visit, is_wanted: Callable[[User], bool]) -> User:
    for user in visit.bank.settings.users:
        if user.institution == visit.token.institution and is_wanted(user):
            return user
    raise RefusedError("CMN_90016")


def _customer(visit: Visit) -> tuple[User, Business | None]:
    """Return the user and business of a call: the token's user, or the one in the query.

    The query has ``hostUserId`` or ``loginId``, not both (CMN_90011). ``institutionCustomerId``,
    in the query or a header, selects one of the user's businesses. Without any, the user is the
    institution's first, or CMN_90016 if ``Settings.user_required`` is set.
    """
    named = visit.call.arguments
    login, host = named.get("loginId"), named.get("hostUserId")
    if login and host:
        raise RefusedError("CMN_90011", "Give hostUserId or loginId, not both")
    if visit.token.user is not None:
        user = visit.token.user
    elif not login and not host and visit.bank.settings.user_required:
        raise RefusedError("CMN_90016", "Query param hostUserId or loginId is missing")
    else:
        user = _find(
            visit, lambda user: login in (None, user.login_id) and host in (None, user.host_user_id)
        )
    return user, _business(visit, user)


def _business(visit: Visit, user: User) -> Business | None:
    customer_id = visit.call.arguments.get("institutionCustomerId")
    customer_id = customer_id or visit.call.header("institutionCustomerId")
    if customer_id is None:
        if user.businesses and visit.bank.settings.user_required:
            raise RefusedError("CMN_90011", "Query param institutionCustomerId is missing")
        return None
    for business in user.businesses:
        if business.institution_customer_id == customer_id:
            return business
    raise RefusedError("CMN_90006")


def _page(visit: Visit, rel: str, account: str, limit: int, offset: int) -> dict[str, str]:
    query = f"accountId={quote(account, safe='')}&limit={limit}&offset={offset}"
    return {"rel": rel, "href": f"{visit.bank.url}/v1/transactions?{query}"}
