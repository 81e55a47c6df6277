"""Finds the handler of a request and applies faults to its response.

This happens in two steps, so that a body is read only if it is needed: ``admit_call`` gets the
head of the request and may already refuse it, ``serve`` gets the body too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from proxy.sandbox import guard, legacy, plumbing, resources, tokens_v1, tokens_v2
from proxy.sandbox.bank import Arrival, Bank, Generation, IssuedToken, TokenArrival
from proxy.sandbox.call import Call, Reply, is_uuid
from proxy.sandbox.call_checks import RefusedError, response_id
from proxy.sandbox.codes import refuse
from proxy.sandbox.faults import Fault, Place, choose
from proxy.sandbox.resources import Resource, Visit

_ROUTES = (*resources.ROUTES, *legacy.ROUTES, *plumbing.ROUTES)
_ENDPOINT_PATHS = {
    "/oauth2/v1/token": ("POST", "token"),
    "/v1/oauth/token": ("POST", "v1token"),
    "/oauth2/v1/revoke": ("DELETE", "revoke"),
    "/v1/auth-code": ("POST", "auth-code"),
}
_LOOKUP = "/db-users/v1/institution-users/"


@dataclass
class Exchange:
    """One request and what is known about it. ``reply`` is set once the response is known."""

    bank: Bank
    call: Call
    endpoint: str
    resource: Resource | None = None
    named: tuple[str, ...] = ()
    token: IssuedToken | None = None
    arrival: Arrival | None = None
    fault: Fault | None = None
    reply: Reply | None = field(default=None, repr=False)


def admit_call(call: Call, bank: Bank) -> Exchange:
    """Find the handler of a request and authenticate it, by its head alone.

    If ``reply`` is set afterwards, the body need not be read.
    """
    if not call.inside:
        return Exchange(bank, call, "none", reply=refuse("ApplicationNotFound"))
    method, endpoint = _ENDPOINT_PATHS.get(call.path, ("", "resource"))
    exchange = Exchange(bank, call, endpoint)
    if endpoint != "resource":
        if call.method != method:
            exchange.reply = refuse("MethodNotAllowed")
        return exchange
    return _resource(exchange)


def serve(exchange: Exchange) -> Reply:
    """Return the response to a request whose body has been read; apply faults and record it."""
    if exchange.endpoint == "none":
        assert exchange.reply is not None
        return exchange.reply
    reply = exchange.reply
    if exchange.endpoint == "resource":
        return _complete(exchange, reply or _at_resource(exchange))
    return reply or _at_token_endpoint(exchange)


def _resource(exchange: Exchange) -> Exchange:
    call, bank = exchange.call, exchange.bank
    exchange.arrival = Arrival(bank.clock(), call.method, call.target, list(call.headers))
    bank.arrivals.append(exchange.arrival)
    bank.counts["arrivals"] += 1
    lookup = call.path.startswith(_LOOKUP)
    names = ("lookup", "resource", "any") if lookup else ("resource", "any")
    institution = guard.asked_institution(call, bank)
    exchange.fault = choose(bank.faults, Place(names, call.method, call.path, institution))
    if exchange.fault and exchange.fault.is_immediate:
        exchange.reply = exchange.fault.response() if exchange.fault.unread else None
        return exchange
    try:
        exchange.token = guard.admit(call, bank)
        exchange.resource, exchange.named = _find(call)
    except RefusedError as refused:
        exchange.reply = refused.reply
    return exchange


def _find(call: Call) -> tuple[Resource, tuple[str, ...]]:
    other_method = False
    for method, pattern, resource in _ROUTES:
        if match := pattern.fullmatch(call.path):
            if method in ("*", call.method) or (method, call.method) == ("GET", "HEAD"):
                return resource, match.groups()
            other_method = True
    raise RefusedError("MethodNotAllowed" if other_method else "ApplicationNotFound")


def _at_resource(exchange: Exchange) -> Reply:
    fault = exchange.fault
    if fault and fault.is_immediate:
        return fault.response()
    assert exchange.resource is not None
    assert exchange.token is not None
    visit = Visit(exchange.call, exchange.bank, exchange.token, exchange.named)
    try:
        reply = exchange.resource(visit)
    except RefusedError as refused:
        reply = refused.reply
    return fault.response() if fault and fault.replaces_response else reply


def _complete(exchange: Exchange, reply: Reply) -> Reply:
    """Add the request's identifiers, apply the fault, and record the outcome."""
    call, bank = exchange.call, exchange.bank
    reply = _identified(call, reply, v1=guard.generation(call.path) == "V1")
    if exchange.fault:
        reply = exchange.fault.apply_to(reply)
    if exchange.arrival is not None:
        exchange.arrival.status, exchange.arrival.outcome = reply.status, reply.outcome
    bank.counts[f"resource {reply.outcome}"] += 1
    return replace(reply, delay=reply.delay + bank.settings.latency)


def _at_token_endpoint(exchange: Exchange) -> Reply:
    call, bank, where = exchange.call, exchange.bank, exchange.endpoint
    institution, grant = _named_institution(call, bank), call.form.get("grant_type", "")
    place = Place((where, "any"), call.method, call.path, institution, grant)
    fault = exchange.fault = choose(bank.faults, place)
    try:
        reply = (
            fault.response()
            if fault and fault.is_immediate
            else _ENDPOINTS[where](call, bank, fault)
        )
    except RefusedError as refused:
        reply = refused.reply
    if fault:
        reply = fault.apply_to(fault.response() if fault.replaces_response else reply)
    if where in ("token", "v1token"):
        client = (call.basic() or ("", ""))[0]
        kind: Generation = "V1" if where == "v1token" else "V2"
        bank.token_requests.append(
            TokenArrival(
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
    """Return the institution of the header, or else that of the refresh token."""
    named = call.header("institutionId") or call.header("di_fiid")
    token = bank.tokens.get(call.form.get("refresh_token", ""))
    return named or (token.institution if token else "")


def _identified(call: Call, reply: Reply, *, v1: bool) -> Reply:
    """Return the response with the ``di_tid`` (V1) or ``transactionId`` (V2) of the request."""
    if not v1:
        return reply.with_headers(response_id(call))
    tid = call.header("di_tid")
    return reply.with_headers(("di_tid", tid)) if tid and is_uuid(tid) else reply


_ENDPOINTS: dict[str, Callable[[Call, Bank, Fault | None], Reply]] = {
    "token": tokens_v2.token,
    "v1token": tokens_v1.token,
    "revoke": tokens_v2.revoke,
    "auth-code": tokens_v2.authorization_code,
}
