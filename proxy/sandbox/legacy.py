"""The V1 resources, in XML: events, customers, registration.

Source of the paths: candescent.md, "Which call takes which token". The bodies are made up.
"""

from __future__ import annotations

import re
from html import escape
from urllib.parse import unquote

from proxy.sandbox.bank_settings import User
from proxy.sandbox.call import SMALL, Reply, xml_reply
from proxy.sandbox.call_checks import RefusedError
from proxy.sandbox.resources import Resource, Visit

_NAMESPACE = "http://schema.intuit.com/fs/common/v2"


def send_event(visit: Visit) -> Reply:
    """``POST /subscriptions/v1/fis/{di_fiid}/fiCustomers/{id}/events``: takes XML, returns 204.

    ``bank.events`` records institution, customer and body.
    """
    body = _xml_body(visit)
    institution, customer = visit.named
    visit.bank.events.append((institution, unquote(customer), body))
    return Reply(204)


def fi_customer(visit: Visit) -> Reply:
    """``GET /bankingservices/v2/fis/{fiId}/fiCustomers/{id}?fiCustomerIdType=GUID``."""
    if visit.call.arguments.get("fiCustomerIdType") != "GUID":
        raise RefusedError("90002", "fiCustomerIdType is invalid: expected GUID")
    user = _by_guid(visit, unquote(visit.named[1]))
    return xml_reply(
        f'<FICustomer xmlns="{_NAMESPACE}"><id>{escape(user.fi_customer_id)}</id>'
        f"<fiId>{escape(user.institution)}</fiId>"
        f"<memberNumber>{escape(user.member_number)}</memberNumber>"
        f"<loginId>{escape(user.login_id)}</loginId></FICustomer>"
    )


def register(visit: Visit) -> Reply:
    """``POST /registration/v4/fis/{di_fiid}/fiCustomers``: takes XML, returns 201 and a new id."""
    _xml_body(visit)
    visit.bank.counts["registered"] += 1
    number = f"00000000-0000-4000-8000-{visit.bank.counts['registered']:012d}"
    return xml_reply(f'<FICustomer xmlns="{_NAMESPACE}"><id>{number}</id></FICustomer>', 201)


#: Method, pattern of the raw path, and handler.
ROUTES: tuple[tuple[str, re.Pattern[str], Resource], ...] = (
    ("POST", re.compile(r"/subscriptions/v1/fis/([^/]+)/fiCustomers/([^/]+)/events"), send_event),
    ("GET", re.compile(r"/bankingservices/v2/fis/([^/]+)/fiCustomers/([^/]+)"), fi_customer),
    ("POST", re.compile(r"/registration/v4/fis/([^/]+)/fiCustomers"), register),
)


def _by_guid(visit: Visit, guid: str) -> User:
    for user in visit.bank.settings.users:
        if user.fi_customer_id == guid and user.institution == visit.token.institution:
            return user
    raise RefusedError("90002/404", "Customer is not known")


def _xml_body(visit: Visit) -> bytes:
    """Return a body that looks like XML and has at most 64 KiB; it is not parsed."""
    call = visit.call
    kind = (call.header("Content-Type") or "").partition(";")[0].strip().lower()
    if not kind.endswith("xml") or call.body_length > SMALL or not call.body.lstrip()[:1] == b"<":
        raise RefusedError("90002", "Request is invalid: expected XML")
    return call.body
