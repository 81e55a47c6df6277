"""Received requests as JSON, without credentials."""

from __future__ import annotations

from typing import Any

from proxy.sandbox.bank import Arrival, TokenArrival

_SECRET = ("authorization", "proxy-authorization", "cookie")


def _shown_headers(headers: list[tuple[bytes, bytes]]) -> list[list[str]]:
    return [
        [
            name.decode("latin-1"),
            "(hidden)" if name.decode("latin-1").lower() in _SECRET else value.decode("latin-1"),
        ]
        for name, value in headers
    ]


def shown_arrival(arrival: Arrival) -> dict[str, Any]:
    """Return a request to a resource as JSON."""
    return {
        "time": arrival.time,
        "method": arrival.method,
        "target": arrival.target,
        "headers": _shown_headers(arrival.headers),
        "body": {"bytes": arrival.body_length, "sha256": arrival.body_sha256},
        "complete": arrival.complete,
        "status": arrival.status,
        "outcome": arrival.outcome,
    }


def shown_request(request: TokenArrival) -> dict[str, Any]:
    """Return a request to a token endpoint as JSON."""
    return {
        "time": request.time,
        "kind": request.kind,
        "grant": request.grant,
        "institution": request.institution,
        "client": request.client,
        "headers": _shown_headers(request.headers),
        "outcome": request.outcome,
    }
