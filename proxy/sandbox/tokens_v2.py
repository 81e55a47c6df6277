"""The V2 endpoints ``POST /oauth2/v1/token``, ``DELETE /oauth2/v1/revoke``, ``POST /v1/auth-code``.

Every refusal has a CMN code. Source: candescent.md, "V2 tokens" and "Revocation"; behaviour that
it does not describe is marked "inferred".
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from proxy.sandbox.bank import Bank, IssuedToken
from proxy.sandbox.bank_settings import User
from proxy.sandbox.call import Call, Reply, is_uuid, json_reply
from proxy.sandbox.call_checks import (
    RefusedError,
    check_client,
    check_form,
    limited,
    whole_seconds,
)
from proxy.sandbox.faults import Fault


def token(call: Call, bank: Bank, fault: Fault | None = None) -> Reply:
    """Handle ``POST /oauth2/v1/token``: 200 with JSON. Raises ``RefusedError``.

    A ``fault`` may change the fields of the response.
    """
    return json_reply(_fields(call, bank, fault), headers=(("Cache-Control", "no-store"),))


def revoke(call: Call, bank: Bank, _: Fault | None = None) -> Reply:
    """Handle ``DELETE /oauth2/v1/revoke``: 204. Raises ``RefusedError``.

    CMN_90018 for an unknown token, another client's token and a V1 token (inferred). Revoking an
    expired or revoked token succeeds.
    """
    check_form(call)
    _check_transaction(call)
    client = check_client(call, bank)
    text = call.form.get("token")
    if not text:
        raise RefusedError("CMN_90011")
    stored = bank.tokens.get(text)
    if stored is None or stored.client != client or stored.generation != "V2":
        raise RefusedError("CMN_90018")
    bank.revoke(text)
    return Reply(204)


def authorization_code(call: Call, bank: Bank, _: Fault | None = None) -> Reply:
    """Handle ``POST /v1/auth-code``: ``{"code": …}`` for a user's ``username`` and ``password``.

    The bank's own endpoint is not public; this format is inferred. Raises ``RefusedError``.
    """
    check_form(call)
    _check_transaction(call)
    client = check_client(call, bank)
    institution = _institution(call, bank, client)
    user = _user(call, bank, institution)
    code = bank.code_for(user.login_id, client=client, institution=institution)
    return json_reply({"code": code})


def _fields(call: Call, bank: Bank, fault: Fault | None) -> dict[str, Any]:
    check_form(call)
    _check_transaction(call)
    client = check_client(call, bank)
    institution = call.header("institutionId") or ""
    if over := limited("token", bank, client, institution):
        raise RefusedError(over)
    grant = _GRANTS.get(call.form.get("grant_type", ""))
    if grant is None:
        raise RefusedError("CMN_90007")
    fields = grant(call, bank, client)
    return fault.alter(fields) if fault else fields


def _check_transaction(call: Call) -> None:
    if not is_uuid(call.header("transactionId")):
        raise RefusedError("CMN_90008")


def _institution(call: Call, bank: Bank, client: str) -> str:
    institution = call.header("institutionId") or ""
    if not institution.isdecimal() or institution not in bank.settings.institutions:
        raise RefusedError("CMN_90005")
    return _authorised(bank, client, institution)


def _authorised(bank: Bank, client: str, institution: str) -> str:
    if not bank.settings.may_use(client, institution):
        raise RefusedError(bank.settings.unauthorised_as)
    return institution


def _scopes(call: Call, bank: Bank) -> tuple[str, ...]:
    """Return the requested scopes (``accounts:read, transactions:read``), by default all."""
    requested = tuple(call.form.get("scopes", "").replace(",", " ").split())
    if any(scope not in bank.settings.scopes for scope in requested):
        raise RefusedError("CMN_90012")
    return requested or bank.settings.scopes


def _user(call: Call, bank: Bank, institution: str) -> User:
    username, password = call.form.get("username"), call.form.get("password")
    if not username:
        raise RefusedError("CMN_90013")
    if not password:
        raise RefusedError("CMN_90014")
    for user in bank.settings.users:
        if (user.username, user.password, user.institution) == (username, password, institution):
            if user.blocked:
                raise RefusedError("CMN_90009")
            return user
    raise RefusedError("CMN_90015")


def _client_credentials(call: Call, bank: Bank, client: str) -> dict[str, Any]:
    institution = _institution(call, bank, client)
    scopes = _scopes(call, bank)
    draft = IssuedToken("V2", client, institution, "client_credentials", scopes=scopes)
    return _access(bank, draft)


def _password(call: Call, bank: Bank, client: str) -> dict[str, Any]:
    institution = _institution(call, bank, client)
    user = _user(call, bank, institution)
    scopes, family = _scopes(call, bank), bank.new_family()
    return _pair(bank, IssuedToken("V2", client, institution, "password", user, scopes, family))


def _refresh_token(call: Call, bank: Bank, client: str) -> dict[str, Any]:
    """Exchange a valid refresh token for a new pair and revoke it; otherwise raise CMN_90018."""
    text = call.form.get("refresh_token")
    if not text:
        raise RefusedError("CMN_90011")
    old = bank.tokens.get(text)
    if old is None or not old.refresh or old.client != client or old.generation != "V2":
        raise RefusedError("CMN_90018")
    if not bank.is_valid(old):
        raise RefusedError("CMN_90018")
    _check_named(call, bank, client, old.institution)
    old.revoked = True
    return _pair(bank, replace(old, grant="refresh_token", revoked=False))


def _authorization_code(call: Call, bank: Bank, client: str) -> dict[str, Any]:
    """Exchange a code once; CMN_90011 for a missing, unknown or used one (inferred)."""
    grant = bank.codes.pop(call.form.get("code", ""), None)
    if grant is None or grant[0] not in ("", client):
        raise RefusedError("CMN_90011")
    _, institution, login_id = grant
    user = bank.settings.user(login_id)
    if user is None:
        raise RefusedError("CMN_90016")
    _check_named(call, bank, client, institution)
    scopes, family = _scopes(call, bank), bank.new_family()
    return _pair(
        bank, IssuedToken("V2", client, institution, "authorization_code", user, scopes, family)
    )


def _check_named(call: Call, bank: Bank, client: str, institution: str) -> None:
    """Check the optional ``institutionId`` header against the token's institution."""
    if call.header("institutionId") not in (None, institution):
        raise RefusedError("CMN_90005")
    _authorised(bank, client, institution)


def _pair(bank: Bank, draft: IssuedToken) -> dict[str, Any]:
    lifetime = bank.settings.refresh_token_lifetime
    access = _access(bank, replace(draft, refresh=False))
    renewal = bank.issue(replace(draft, refresh=True), lifetime)
    return access | {
        "refresh_token": renewal.text,
        "refresh_token_expires_in": whole_seconds(bank, lifetime),
    }


def _access(bank: Bank, draft: IssuedToken) -> dict[str, Any]:
    lifetime = bank.settings.lifetime_of(draft.institution)
    if (token := bank.issued_before(draft)) is not None:
        left = str(int(token.expires_at - bank.clock()))
    else:
        token, left = bank.issue(draft, lifetime), whole_seconds(bank, lifetime)
        token.active_at = bank.clock() + bank.settings.activation
    return {
        "access_token": token.text,
        "expires_in": left,
        "token_type": "Bearer",
    }


_GRANTS = {
    "client_credentials": _client_credentials,
    "password": _password,
    "refresh_token": _refresh_token,
    "authorization_code": _authorization_code,
}
