"""Authenticates resource calls: the bearer token, its kind and institution, required headers.

Paths with a ``/fis/`` segment take V1 tokens, all others V2 tokens. Source: candescent.md,
"Which call takes which token" and "Errors on a token call, and on a resource call".
"""

from __future__ import annotations

from proxy.sandbox.bank import Bank, Generation, IssuedToken
from proxy.sandbox.call import Call, is_uuid
from proxy.sandbox.call_checks import RefusedError, check_single, limited

#: API families that require ``correlationId`` instead of ``transactionId``.
CORRELATED = (
    *("/v1/customers", "/v1/e-statements", "/v2/e-statements", "/v1/reports/e-statements"),
    *("/v1/ach-payments", "/v1/wire-payments", "/mx/"),
)


def generation(path: str) -> Generation:
    """Return the kind of token that a path takes."""
    return "V1" if "/fis/" in path else "V2"


def path_institution(path: str) -> str | None:
    """Return the institution in a V1 path: the segment after ``fis``."""
    _, marker, rest = path.partition("/fis/")
    return rest.partition("/")[0] if marker else None


def asked_institution(call: Call, bank: Bank) -> str | None:
    """Return the institution of the path, else of the header, else of the token."""
    named = path_institution(call.path) or call.header("institutionId") or call.header("di_fiid")
    if named:
        return named
    token = bank.tokens.get(call.bearer() or "")
    return token.institution if token else None


def admit(call: Call, bank: Bank) -> IssuedToken:
    """Return the valid token of a request. Raises ``RefusedError``."""
    if generation(call.path) == "V1":
        return _admit_v1(call, bank)
    return _admit_v2(call, bank)


def _admit_v2(call: Call, bank: Bank) -> IssuedToken:
    rules = bank.settings
    check_single(call)
    token = _token(call, bank, "V2", rules.unknown_as, rules.expired_as)
    if call.path.startswith(CORRELATED):
        if not is_uuid(call.header("correlationId")):
            raise RefusedError("CMN_90010", "Header correlationId is invalid")
    elif not is_uuid(call.header("transactionId")):
        raise RefusedError("CMN_90008")
    if call.header("institutionId") not in (None, token.institution):
        raise RefusedError("CMN_90006")
    _check_limits(bank, token)
    return token


def _admit_v1(call: Call, bank: Bank) -> IssuedToken:
    rules = bank.settings
    for name in ("Authorization", "di_tid"):
        if len(call.all(name)) > 1:
            raise RefusedError("90002", f"Header {name} came more than once")
    token = _token(call, bank, "V1", rules.v1_unknown_as, rules.v1_expired_as)
    if not is_uuid(call.header("di_tid")):
        raise RefusedError("90002", "Header di_tid is invalid")
    if path_institution(call.path) != token.institution:
        raise RefusedError("90001/403", "Token is for another institution")
    _check_limits(bank, token)
    return token


def _token(
    call: Call, bank: Bank, kind: Generation, unknown_as: str, expired_as: str
) -> IssuedToken:
    token = bank.tokens.get(call.bearer() or "")
    if token is None or token.refresh or token.generation != kind or token.revoked:
        raise RefusedError(unknown_as)
    if not bank.is_valid(token):
        raise RefusedError(expired_as)
    if bank.clock() < token.active_at:
        raise RefusedError(unknown_as)
    return token


def _check_limits(bank: Bank, token: IssuedToken) -> None:
    v1 = token.generation == "V1"
    if over := limited("resource", bank, token.client, token.institution, v1=v1):
        raise RefusedError(over)
