"""Checks shared by several endpoints, and the error that a failed check raises."""

from __future__ import annotations

import uuid

from proxy.sandbox.bank import Bank
from proxy.sandbox.call import Call, Reply, is_uuid
from proxy.sandbox.codes import error_spec, refuse

FORM = "application/x-www-form-urlencoded"
_ONCE = ("Authorization", "transactionId", "correlationId", "institutionId", "di_fiid", "di_tid")


class RefusedError(Exception):
    """A request failed a check; ``reply`` is the error response."""

    def __init__(self, refusal: str | Reply, message: str | None = None) -> None:
        """Take a code as in ``codes.py``, or a response."""
        self.reply = refuse(refusal, message) if isinstance(refusal, str) else refusal
        super().__init__(self.reply.outcome)


def response_id(call: Call) -> tuple[str, str]:
    """Return the ``transactionId`` header of the response: the request's own, or a new UUID."""
    own_id = call.header("transactionId")
    return ("transactionId", own_id if own_id and is_uuid(own_id) else str(uuid.uuid4()))


def check_form(call: Call) -> None:
    """Check content type, single headers and printable ASCII for the V2 token endpoints."""
    content_type = (call.header("Content-Type") or "").partition(";")[0].strip().lower()
    if content_type != FORM:
        raise RefusedError("CMN_90010", f"Header Content-Type is invalid: expected {FORM}")
    check_single(call)
    if any(not 32 <= byte < 127 for byte in call.body):
        raise RefusedError("CMN_90017")


def check_single(call: Call) -> None:
    """Refuse repeated headers that may occur once only (CMN_90010, inferred)."""
    for name in _ONCE:
        if len(call.all(name)) > 1:
            raise RefusedError("CMN_90010", f"Header is invalid: {name} came more than once")


def check_client(call: Call, bank: Bank) -> str:
    """Return the client id of valid HTTP Basic credentials; otherwise raise CMN_90004."""
    credentials = call.basic()
    if credentials is None or bank.settings.clients.get(credentials[0]) != credentials[1]:
        raise RefusedError("CMN_90004")
    return credentials[0]


def limited(
    where: str, bank: Bank, client: str, institution: str, *, v1: bool = False
) -> Reply | None:
    """Count a request; return the error response if it exceeds a limit, else ``None``.

    ``where`` is ``token`` or ``resource``; ``Settings.limits_on`` says which of them is limited.
    """
    if bank.settings.limits_on not in (where, "both"):
        return None
    over = bank.over_limit(client, institution)
    if over is None:
        return None
    rules = bank.settings
    if rules.limited_as == "apigee":
        code = {"quota": "QuotaViolation", "spike": "SpikeArrestViolation"}[over]
    elif v1:
        code = {"quota": "91000", "spike": "92000"}[over]
    else:
        code = {"quota": "CMN_90002", "spike": "CMN_90003"}[over]
    reply = error_spec(code, status=rules.limit_status).reply()
    if rules.retry_after is None:
        return reply
    return reply.with_headers(("Retry-After", str(rules.retry_after)))


def whole_seconds(bank: Bank, lifetime: float) -> str:
    """Return ``expires_in`` as the bank sends it: a string of whole seconds, rounded down."""
    return str(max(bank.settings.least_expires_in, int(lifetime)))
