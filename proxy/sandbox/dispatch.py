"""The front desk: which clerk serves a call. Pure, from ``Call`` to ``Reply``.

The server asks twice, because a body should only be read by somebody who wants it:
``at_the_door`` sees the head and may send the caller away at once, ``serve`` has the body too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from proxy.sandbox import guard, legacy, plumbing, resources, tokens_v1, tokens_v2
from proxy.sandbox.bank import Arrival, Bank, Generation, IssuedToken, TokenRequest
from proxy.sandbox.checks import RefusedError, answering
from proxy.sandbox.codes import refuse
from proxy.sandbox.faults import Fault, Place, choose
from proxy.sandbox.messages import Call, Reply, is_uuid
from proxy.sandbox.resources import Resource, Visit

_ROUTES = (*resources.ROUTES, *legacy.ROUTES, *plumbing.ROUTES)
_CLERKS = {
    "/oauth2/v1/token": ("POST", "token"),
    "/v1/oauth/token": ("POST", "v1token"),
    "/oauth2/v1/revoke": ("DELETE", "revoke"),
    "/v1/auth-code": ("POST", "auth-code"),
}
_LOOKUP = "/db-users/v1/institution-users/"


@dataclass
class Ticket:
    """One call on its way through the bank. ``reply`` is set once the answer is known."""

    bank: Bank
    call: Call
    clerk: str
    resource: Resource | None = None
    named: tuple[str, ...] = ()
    token: IssuedToken | None = None
    arrival: Arrival | None = None
    fault: Fault | None = None
    reply: Reply | None = field(default=None, repr=False)


def at_the_door(call: Call, bank: Bank) -> Ticket:
    """Find who serves this call, from its head alone, and whether it is let in.

    If ``reply`` is set afterwards, the body need not be read.
    """
    if not call.inside:
        return Ticket(bank, call, "nobody", reply=refuse("ApplicationNotFound"))
    method, clerk = _CLERKS.get(call.path, ("", "resource"))
    ticket = Ticket(bank, call, clerk)
    if clerk != "resource":
        if call.method != method:
            ticket.reply = refuse("MethodNotAllowed")
        return ticket
    return _resource(ticket)


def serve(ticket: Ticket) -> Reply:
    """The answer, the body being there. Faults are put upon it, and the books are written."""
    if ticket.clerk == "nobody":
        assert ticket.reply is not None
        return ticket.reply
    reply = ticket.reply
    if ticket.clerk == "resource":
        return _close(ticket, reply or _at_resource(ticket))
    return reply or _at_token_endpoint(ticket)


def _resource(ticket: Ticket) -> Ticket:
    call, bank = ticket.call, ticket.bank
    ticket.arrival = Arrival(bank.clock(), call.method, call.target, list(call.headers))
    bank.arrivals.append(ticket.arrival)
    bank.counts["arrivals"] += 1
    lookup = call.path.startswith(_LOOKUP)
    names = ("lookup", "resource", "any") if lookup else ("resource", "any")
    institution = guard.asked_institution(call, bank)
    ticket.fault = choose(bank.faults, Place(names, call.method, call.path, institution))
    if ticket.fault and ticket.fault.early:
        ticket.reply = ticket.fault.answer() if ticket.fault.unread else None
        return ticket
    try:
        ticket.token = guard.admit(call, bank)
        ticket.resource, ticket.named = _find(call)
    except RefusedError as refused:
        ticket.reply = refused.reply
    return ticket


def _find(call: Call) -> tuple[Resource, tuple[str, ...]]:
    other_method = False
    for method, pattern, resource in _ROUTES:
        if match := pattern.fullmatch(call.path):
            if method in ("*", call.method) or (method, call.method) == ("GET", "HEAD"):
                return resource, match.groups()
            other_method = True
    raise RefusedError("MethodNotAllowed" if other_method else "ApplicationNotFound")


def _at_resource(ticket: Ticket) -> Reply:
    fault = ticket.fault
    if fault and fault.early:
        return fault.answer()
    assert ticket.resource is not None
    assert ticket.token is not None
    visit = Visit(ticket.call, ticket.bank, ticket.token, ticket.named)
    try:
        reply = ticket.resource(visit)
    except RefusedError as refused:
        reply = refused.reply
    return fault.answer() if fault and fault.replaces else reply


def _close(ticket: Ticket, reply: Reply) -> Reply:
    """Put the identifiers and the fault upon the answer, and note it with the arrival."""
    call, bank = ticket.call, ticket.bank
    reply = _identified(call, reply, v1=guard.generation(call.path) == "V1")
    if ticket.fault:
        reply = ticket.fault.spoil(reply)
    if ticket.arrival is not None:
        ticket.arrival.status, ticket.arrival.outcome = reply.status, reply.outcome
    bank.counts[f"resource {reply.outcome}"] += 1
    return replace(reply, delay=reply.delay + bank.settings.latency)


def _at_token_endpoint(ticket: Ticket) -> Reply:
    call, bank, where = ticket.call, ticket.bank, ticket.clerk
    institution, grant = _named_institution(call, bank), call.form.get("grant_type", "")
    place = Place((where, "any"), call.method, call.path, institution, grant)
    fault = ticket.fault = choose(bank.faults, place)
    try:
        reply = fault.answer() if fault and fault.early else _ENDPOINTS[where](call, bank, fault)
    except RefusedError as refused:
        reply = refused.reply
    if fault:
        reply = fault.spoil(fault.answer() if fault.replaces else reply)
    if where in ("token", "v1token"):
        client = (call.basic() or ("", ""))[0]
        kind: Generation = "V1" if where == "v1token" else "V2"
        bank.token_requests.append(
            TokenRequest(
                bank.clock(),
                kind,
                grant,
                institution,
                client,
                list(call.headers),
                reply.outcome,
            )
        )
    bank.counts[f"{where} {reply.outcome}"] += 1
    return replace(
        _identified(call, reply, v1=where == "v1token"),
        delay=reply.delay + bank.settings.latency + bank.settings.token_latency,
    )


def _named_institution(call: Call, bank: Bank) -> str:
    """The institution of the header; where a refresh token stands for it, that one's."""
    named = call.header("institutionId") or call.header("di_fiid")
    held = bank.tokens.get(call.form.get("refresh_token", ""))
    return named or (held.institution if held else "")


def _identified(call: Call, reply: Reply, *, v1: bool) -> Reply:
    """The answer with ``di_tid`` or ``transactionId``, as the request had it."""
    if not v1:
        return reply.with_headers(answering(call))
    tid = call.header("di_tid")
    return reply.with_headers(("di_tid", tid)) if tid and is_uuid(tid) else reply


_ENDPOINTS: dict[str, Callable[[Call, Bank, Fault | None], Reply]] = {
    "token": tokens_v2.token,
    "v1token": tokens_v1.token,
    "revoke": tokens_v2.revoke,
    "auth-code": tokens_v2.authorization_code,
}
