"""Checks that several endpoints share, and how a broken rule is reported. Pure."""

from __future__ import annotations

import uuid

from proxy.sandbox.bank import Bank
from proxy.sandbox.call import Call, Reply, is_uuid
from proxy.sandbox.codes import error_spec, refuse

FORM = "application/x-www-form-urlencoded"
_ONCE = ("Authorization", "transactionId", "correlationId", "institutionId", "di_fiid", "di_tid")


class RefusedError(Exception):
    """A rule was broken; ``reply`` is the answer that says which."""

    def __init__(self, answer: str | Reply, message: str | None = None) -> None:
        """Refuse with a spelling of ``codes.py``, or with an answer that is there already."""
        self.reply = refuse(answer, message) if isinstance(answer, str) else answer
        super().__init__(self.reply.outcome)


def response_id(call: Call) -> tuple[str, str]:
    """The ``transactionId`` header that answers the request's; a new one where that was none."""
    asked = call.header("transactionId")
    return ("transactionId", asked if asked and is_uuid(asked) else str(uuid.uuid4()))


def check_form(call: Call) -> None:
    """Content type, single headers and printable ASCII, as the token endpoints want them."""
    content_type = (call.header("Content-Type") or "").partition(";")[0].strip().lower()
    if content_type != FORM:
        raise RefusedError("CMN_90010", f"Header Content-Type is invalid: expected {FORM}")
    check_single(call)
    if any(not 32 <= byte < 127 for byte in call.body):
        raise RefusedError("CMN_90017")


def check_single(call: Call) -> None:
    """Refuse a header that may come once but came twice (CMN_90010, inferred)."""
    for name in _ONCE:
        if len(call.all(name)) > 1:
            raise RefusedError("CMN_90010", f"Header is invalid: {name} came more than once")


def check_client(call: Call, bank: Bank) -> str:
    """The client that HTTP Basic names, its secret right; otherwise CMN_90004."""
    given = call.basic()
    if given is None or bank.settings.clients.get(given[0]) != given[1]:
        raise RefusedError("CMN_90004")
    return given[0]


def limited(
    where: str, bank: Bank, client: str, institution: str, *, v1: bool = False
) -> Reply | None:
    """The refusal of a request that breaks a limit, or ``None``; the request is counted.

    ``where`` is ``token`` or ``resource``: ``Settings.limits_on`` says which of them counts.
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
    """``expires_in`` as the bank sends it: a string, rounded down."""
    return str(max(bank.settings.least_expires_in, int(lifetime)))
