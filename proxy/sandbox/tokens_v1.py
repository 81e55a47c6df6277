"""The V1 token endpoint, ``POST /v1/oauth/token``, in XML.

The numeric codes are documented (90001 not authorised, 90002 invalid, 91000 quota, 92000 spike);
which error gets which code is inferred. Source: candescent.md, "V1 tokens".
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from html import escape
from typing import Any

from proxy.sandbox.bank import Bank, IssuedToken
from proxy.sandbox.bank_settings import User
from proxy.sandbox.call import Call, Reply, is_uuid, json_reply, xml_reply
from proxy.sandbox.call_checks import FORM, RefusedError, limited, whole_seconds
from proxy.sandbox.faults import Fault

#: The form of ``user-agent``: ``{App}/{Version}[/{DeviceID}][;{Platform}]``.
USER_AGENT = re.compile(r"[^/;\s]+/[^/;\s]+(/[^/;\s]+)?(;.+)?")
_NAMESPACE = "http://schema.intuit.com/fs/common/v2"


def token(call: Call, bank: Bank, fault: Fault | None = None) -> Reply:
    """Handle ``POST /v1/oauth/token``: 200 with ``<token>``. Raises ``RefusedError``.

    A ``fault`` may change the fields of the response.
    """
    fields = _fields(call, bank)
    written = _WRITERS[bank.settings.v1_format](fault.alter(fields) if fault else fields)
    return written.with_headers(("Cache-Control", "no-store"))


def _fields(call: Call, bank: Bank) -> dict[str, Any]:
    _check_headers(call)
    client = _client(call, bank)
    institution = call.header("di_fiid") or ""
    if over := limited("token", bank, client, institution, v1=True):
        raise RefusedError(over)
    grant = call.form.get("grant_type", "")
    if grant not in ("client_credentials", "password"):
        raise RefusedError("90002", "Invalid grant type")
    if institution not in bank.settings.institutions:
        raise RefusedError("90001", "Institution is not authorized for this application")
    if not bank.settings.may_use(client, institution):
        raise RefusedError("90001", "Institution is not authorized for this application")
    if grant == "password":
        return _password(call, bank, client, institution)
    return _issue(bank, client, institution, grant)


def _check_headers(call: Call) -> None:
    content_type = (call.header("Content-Type") or "").partition(";")[0].strip().lower()
    if content_type != FORM:
        raise RefusedError("90002", "Header Content-Type is invalid")
    for name in ("Authorization", "di_fiid", "di_tid", "user-agent"):
        if len(call.all(name)) > 1:
            raise RefusedError("90002", f"Header {name} came more than once")
    if not is_uuid(call.header("di_tid")):
        raise RefusedError("90002", "Header di_tid is invalid")
    if not USER_AGENT.fullmatch(call.header("user-agent") or ""):
        raise RefusedError("90002", "Header user-agent is invalid")
    if not (call.header("di_fiid") or "").isdecimal():
        raise RefusedError("90002", "Header di_fiid is invalid")


def _client(call: Call, bank: Bank) -> str:
    credentials = call.basic()
    if credentials is None or bank.settings.clients.get(credentials[0]) != credentials[1]:
        raise RefusedError("90001", "Invalid client credentials")
    return credentials[0]


def _password(call: Call, bank: Bank, client: str, institution: str) -> dict[str, Any]:
    """Issue tokens to a retail user; a business user gets 403."""
    login = (call.form.get("username"), call.form.get("password"), institution)
    for user in bank.settings.users:
        if (user.username, user.password, user.institution) == login and not user.blocked:
            if user.businesses:
                raise RefusedError("90002/403", "The password grant is for retail users only")
            return _issue(bank, client, institution, "password", user)
    raise RefusedError("90001", "Invalid user credentials")


def _issue(
    bank: Bank, client: str, institution: str, grant: str, user: User | None = None
) -> dict[str, Any]:
    rules = bank.settings
    draft = IssuedToken("V1", client, institution, grant, user, family=bank.new_family())
    access = {
        "access_token": bank.issue(draft, rules.v1_lifetime).text,
        "expires_in": whole_seconds(bank, rules.v1_lifetime),
    }
    if user is None:
        return {"di_fiid": institution} | access
    renewal = bank.issue(replace(draft, refresh=True), rules.refresh_token_lifetime)
    return {
        "di_fiid": institution,
        "di_ficustomer": user.fi_customer_id,
        "di_member_number": user.member_number,
        **access,
        "refresh_token": renewal.text,
        "refresh_token_expires_in": whole_seconds(bank, rules.refresh_token_lifetime),
    }


def _xml(fields: dict[str, Any]) -> Reply:
    inner = "".join(f"<{name}>{_text(value)}</{name}>" for name, value in fields.items())
    return xml_reply(f"<token>{inner}</token>")


def _prefixed(fields: dict[str, Any]) -> Reply:
    inner = "".join(f"<ns2:{name}>{_text(value)}</ns2:{name}>" for name, value in fields.items())
    return xml_reply(
        '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'
        f'<ns2:token xmlns:ns2="{_NAMESPACE}">{inner}</ns2:token>'
    )


def _text(value: Any) -> str:
    return escape(str(value)).replace("\r", "&#13;").replace("\n", "&#10;")


_WRITERS: dict[str, Callable[[dict[str, Any]], Reply]] = {
    "xml": _xml,
    "prefixed": _prefixed,
    "json": json_reply,
}
