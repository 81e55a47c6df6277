"""Injected faults: which requests fail, how often, and with which response.

    bank.faults.append(Fault("token", code="CMN_90002", times=2))          # quota, a 500, twice
    bank.faults.append(Fault("token", status=429, headers={"Retry-After": "3"}))
    bank.faults.append(Fault("token", shape="html"))                       # 200 with a web page
    bank.faults.append(Fault("token", expires_in="abc"))                   # one wrong field
    bank.faults.append(Fault("resource", reset=True, path_prefix="/v1/transfers", late=True))

The first fault of the list that matches a request and is not used up applies; ``fault.used``
counts its uses.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from proxy.sandbox.call import Headers, Reply
from proxy.sandbox.codes import ErrorShape, error_spec
from proxy.sandbox.payloads import BOMB, PAGE, padding

#: Where a fault applies: the V2 token endpoint, the V1 token endpoint, revocation, the
#: institution-users look-up, every resource (the look-up included), or ``any`` endpoint.
PLACES = ("token", "v1token", "revoke", "lookup", "resource", "any")

#: Forms of a response. ``cmn``, ``v1`` and ``apigee`` are errors; the others have status 200 by
#: default: ``html`` a web page, ``empty`` no body, ``truncated`` a body shorter than declared,
#: ``notoken`` JSON without a token, ``notjson`` half of a JSON text, ``bomb`` an XML bomb,
#: ``huge`` ``size`` bytes (50 MB) of JSON.
SHAPES = (
    "cmn", "v1", "apigee", "html", "empty", "truncated", "notoken", "notjson", "bomb", "huge",
)  # fmt: skip

#: Marks a field of a token response that the fault does not change.
UNTOUCHED: Any = type("Untouched", (), {"__repr__": lambda _: "UNTOUCHED"})()

_ERROR_SHAPES: dict[str, ErrorShape] = {"cmn": "cmn", "v1": "v1", "apigee": "apigee"}


@dataclass
class Fault:
    """One fault. Times are seconds, sizes bytes.

    Selection: ``where``, and if set ``institution``, ``path_prefix`` (raw, below the base path),
    ``method`` and ``grant``. The first ``skip`` matching requests are unaffected, the next
    ``times`` are affected (``None``: all).

    Replacement of the response: ``code`` (a spelling of ``codes.py``), ``status``, ``message``,
    ``shape`` (one of ``SHAPES``, or the body as bytes), ``wire`` (a whole response as raw bytes;
    ``keep_open`` keeps the connection open after it).

    Changes to a successful token response: ``expires_in`` and ``token_text`` replace the real
    values; ``without`` removes fields.

    With either: ``headers`` are added, ``delay`` is before the response, ``dribble`` between two
    bytes of the body. ``hang`` and ``reset`` take the place of the response; with ``after_head``
    its head and half its body are sent first. ``cut`` sends these too and closes. ``late`` runs
    the handler first (a transfer is made); ``unread`` applies before a request body is read.
    """

    where: str
    times: int | None = None
    status: int | None = None
    code: str | None = None
    message: str | None = None
    shape: str | bytes | None = None
    size: int = 50_000_000
    wire: bytes | None = None
    keep_open: bool = False
    headers: Mapping[str, str] = field(default_factory=dict)
    delay: float = 0.0
    dribble: float = 0.0
    hang: bool = False
    reset: bool = False
    cut: bool = False
    after_head: bool = False
    late: bool = False
    unread: bool = False
    expires_in: Any = UNTOUCHED
    token_text: Any = UNTOUCHED
    without: tuple[str, ...] = ()
    institution: str | None = None
    path_prefix: str | None = None
    method: str | None = None
    grant: str | None = None
    skip: int = 0
    used: int = 0

    def __post_init__(self) -> None:
        """Raise ``ValueError`` that names the field if a value is invalid."""
        if self.where not in PLACES:
            raise ValueError(f"where: expected one of {', '.join(PLACES)}")
        if isinstance(self.shape, str) and self.shape not in SHAPES:
            raise ValueError(f"shape: expected one of {', '.join(SHAPES)}, or bytes")
        if self.code is not None:
            error_spec(self.code)
        if self.status is not None and not 200 <= self.status <= 599:
            raise ValueError("status: expected 200 to 599; for others, use wire")

    @property
    def is_used_up(self) -> bool:
        """Whether it has been used ``times`` times."""
        return self.times is not None and self.used >= self.times

    @property
    def replaces_response(self) -> bool:
        """Whether it replaces the response."""
        return any(part is not None for part in (self.status, self.code, self.shape, self.wire))

    @property
    def is_immediate(self) -> bool:
        """Whether it applies before the handler runs."""
        silent = (self.hang or self.reset) and not self.after_head
        return not self.late and (self.replaces_response or silent)

    @property
    def bad_ending(self) -> Literal["hang", "reset", "cut"] | None:
        """How it breaks the response off, if it does."""
        if self.hang:
            return "hang"
        if self.reset:
            return "reset"
        return "cut" if self.cut else None

    @property
    def name(self) -> str:
        """The outcome recorded for an affected request."""
        if self.bad_ending is not None:
            return self.bad_ending
        if self.wire is not None or isinstance(self.shape, bytes):
            return "bytes"
        return self.code or self.shape or str(self.status or "altered")

    def fits(self, place: Place) -> bool:
        """Whether it selects a request at this place."""
        return (
            self.where in place.names
            and self.institution in (None, place.institution)
            and self.method in (None, place.method)
            and self.grant in (None, place.grant)
            and place.path.startswith(self.path_prefix or "")
        )

    def response(self) -> Reply:
        """Return the response that replaces the real one, by default an error 500."""
        if self.wire is not None:
            return Reply(body=self.wire, ending="wire-open" if self.keep_open else "wire")
        if isinstance(self.shape, bytes):
            return Reply(self.status or 200, body=self.shape)
        if self.shape in (None, *_ERROR_SHAPES):
            return self._error()
        return _BODY_SHAPES[self.shape or ""](self)

    def apply_to(self, reply: Reply) -> Reply:
        """Return a response with the fault's headers, delays and ending."""
        result = reply.with_headers(*self.headers.items()) if self.headers else reply
        result = replace(result, delay=reply.delay + self.delay)
        if self.replaces_response or self.bad_ending:
            result = result.with_outcome(self.name)
        if self.dribble:
            result = replace(result, dribble=self.dribble)
        if self.bad_ending is not None:
            result = replace(result, ending=self.bad_ending, after_head=self.after_head)
        return result

    def alter(self, fields: dict[str, Any]) -> dict[str, Any]:
        """Return the fields of a token response with the fault's changes."""
        altered = dict(fields)
        if self.expires_in is not UNTOUCHED:
            altered["expires_in"] = self.expires_in
        if self.token_text is not UNTOUCHED:
            altered["access_token"] = self.token_text
        return {name: value for name, value in altered.items() if name not in self.without}

    def _error(self) -> Reply:
        v1 = self.where == "v1token"
        code = self.code or _code_for(self.status or 500, self.where)
        default: ErrorShape | None = "v1" if v1 and code.startswith("CMN_") else None
        shape = _ERROR_SHAPES[self.shape] if isinstance(self.shape, str) else default
        status = self.status or (None if self.code else 500)
        spec = error_spec(code, shape=shape, status=status, message=self.message)
        return spec.reply()


@dataclass(frozen=True)
class Place:
    """The properties of a request by which faults select it."""

    names: tuple[str, ...]
    method: str
    path: str
    institution: str | None = None
    grant: str | None = None


def choose(faults: Iterable[Fault], place: Place) -> Fault | None:
    """Return the fault for a request, and count its use; ``None`` if no fault applies."""
    for fault in faults:
        if fault.fits(place) and not fault.is_used_up:
            if fault.skip > 0:
                fault.skip -= 1
                continue
            fault.used += 1
            return fault
    return None


def _code_for(status: int, where: str) -> str:
    if where == "v1token":
        return {401: "90001", 403: "90001", 429: "91000"}.get(status, "90002")
    if status == 401:
        return "CMN_90018" if where in ("resource", "lookup") else "CMN_90004"
    return {400: "CMN_90011", 403: "CMN_90006", 429: "CMN_90002"}.get(status, "CMN_90000")


def _html(fault: Fault) -> Reply:
    return Reply(fault.status or 200, (("Content-Type", "text/html"),), PAGE)


def _empty(fault: Fault) -> Reply:
    return Reply(fault.status or 200, _typed(fault))


def _truncated(fault: Fault) -> Reply:
    body = json.dumps({"access_token": "cut", "expires_in": "3600", "token_type": "Bearer"})
    return Reply(fault.status or 200, _typed(fault), body.encode(), ending="cut")


def _notoken(fault: Fault) -> Reply:
    text = "<token><expires_in>1799</expires_in></token>"
    body = text if fault.where == "v1token" else '{"expires_in":"3600","token_type":"Bearer"}'
    return Reply(fault.status or 200, _typed(fault), body.encode())


def _notjson(fault: Fault) -> Reply:
    return Reply(fault.status or 200, _typed(fault), b'{"access_token":"half')


def _bomb(fault: Fault) -> Reply:
    return Reply(fault.status or 200, (("Content-Type", "application/xml"),), BOMB)


def _huge(fault: Fault) -> Reply:
    size = fault.size
    return Reply(fault.status or 200, _typed(fault), lambda: padding(size), size)


def _typed(fault: Fault) -> Headers:
    kind = "xml" if fault.where == "v1token" else "json"
    return (("Content-Type", f"application/{kind}"),)


_BODY_SHAPES = {
    "html": _html,
    "empty": _empty,
    "truncated": _truncated,
    "notoken": _notoken,
    "notjson": _notjson,
    "bomb": _bomb,
    "huge": _huge,
}
