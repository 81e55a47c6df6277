"""Control of the sandbox at run time, under ``/_sandbox``. Needs no credentials and shows none.

    GET    /_sandbox                  summary: counters, valid tokens, settings, faults
    GET    /_sandbox/arrivals         requests to resources, newest last (?last=20)
    GET    /_sandbox/token-requests   requests to the token endpoints (?last=20)
    GET    /_sandbox/settings         the settings, without secrets
    PUT    /_sandbox/settings         {"lifetime": 5, "quota": 10}: changes these settings
    GET    /_sandbox/faults           the faults, and how often each was used
    POST   /_sandbox/faults           {"where": "token", "code": "CMN_90002", "times": 2}, or a list
    DELETE /_sandbox/faults           removes all faults
    POST   /_sandbox/expire           expires all access tokens; {"institution": "00016"} limits it
                                      to one, {"refresh_tokens": true} includes refresh tokens
    POST   /_sandbox/revoke           revokes all access tokens; {"institution": …} limits it
    POST   /_sandbox/codes            {"loginId": "juniper.quill"} → {"code": …}, a login's code
    POST   /_sandbox/reset            clears counters, received requests, limits and faults

An invalid request gets 400 with ``{"error": …}`` that names the field; an unknown path 404.
``fault_json.py`` has the JSON form of a fault.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, TypeVar

from proxy.sandbox.bank import Bank
from proxy.sandbox.call import Call, Reply, json_reply
from proxy.sandbox.fault_json import fault_from, shown_fault
from proxy.sandbox.settings_json import changed, shown
from proxy.sandbox.views import shown_arrival, shown_request

_T = TypeVar("_T")
_ROOT = "/_sandbox"


def is_control(call: Call) -> bool:
    """Whether a request is for ``/_sandbox``, with or without the base path."""
    return _name(call) is not None


def handle(call: Call, bank: Bank) -> Reply:
    """Run the action; 400, 404 and 405 responses say what is expected."""
    name = _name(call) or ""
    methods = _ACTIONS.get(name)
    if methods is None:
        return json_reply({"error": f"unknown; known are {', '.join(sorted(_ACTIONS))}"}, 404)
    action = methods.get(call.method)
    if action is None:
        allowed = ", ".join(methods)
        return json_reply({"error": f"method not allowed; {allowed}"}, 405, (("Allow", allowed),))
    try:
        return json_reply(action(call, bank))
    except ValueError as error:
        return json_reply({"error": str(error)}, 400)


def _name(call: Call) -> str | None:
    path = call.target.partition("?")[0]
    for root in (_ROOT, call.base_path + _ROOT):
        if path == root or path.startswith(root + "/"):
            return path.removeprefix(root).strip("/")
    return None


def _summary(_: Call, bank: Bank) -> dict[str, Any]:
    live: dict[str, int] = {}
    for token in bank.live_tokens():
        key = f"{token.generation} {token.institution}"
        live[key] = live.get(key, 0) + 1
    return {
        "url": bank.url,
        "uptime_seconds": round(bank.clock() - bank.started, 3),
        "live_tokens": live,
        "counts": dict(bank.counts),
        "transfers": bank.transfers.total(),
        "settings": shown(bank.settings),
        "faults": [shown_fault(fault) for fault in bank.faults],
    }


def _arrivals(call: Call, bank: Bank) -> list[dict[str, Any]]:
    return [shown_arrival(arrival) for arrival in _last(call, list(bank.arrivals))]


def _token_requests(call: Call, bank: Bank) -> list[dict[str, Any]]:
    return [shown_request(request) for request in _last(call, list(bank.token_requests))]


def _settings(_: Call, bank: Bank) -> dict[str, Any]:
    return shown(bank.settings)


def _change_settings(call: Call, bank: Bank) -> dict[str, Any]:
    bank.settings = changed(bank.settings, _object(call))
    return shown(bank.settings)


def _faults(_: Call, bank: Bank) -> list[dict[str, Any]]:
    return [shown_fault(fault) for fault in bank.faults]


def _add_faults(call: Call, bank: Bank) -> list[dict[str, Any]]:
    value = _json(call)
    rules = value if isinstance(value, list) else [value]
    if not all(isinstance(rule, dict) for rule in rules):
        raise ValueError("expected a fault, a JSON object, or a list of them")
    bank.faults.extend([fault_from(rule) for rule in rules])
    return _faults(call, bank)


def _clear_faults(call: Call, bank: Bank) -> list[dict[str, Any]]:
    bank.faults.clear()
    return _faults(call, bank)


def _expire(call: Call, bank: Bank) -> dict[str, int]:
    fields = _only(_object(call), institution=str, refresh_tokens=bool)
    return {"expired": bank.expire_all(**fields)}


def _revoke(call: Call, bank: Bank) -> dict[str, int]:
    fields = _only(_object(call), institution=str)
    live = [token.text for token in bank.live_tokens(fields.get("institution"))]
    return {"revoked": sum(bank.revoke(text) for text in live)}


def _codes(call: Call, bank: Bank) -> dict[str, str]:
    fields = _only(_object(call), loginId=str, institutionId=str)
    if bank.settings.user(fields.get("loginId", "")) is None:
        known = ", ".join(user.login_id for user in bank.settings.users)
        raise ValueError(f"loginId: no such user; known are {known}")
    return {"code": bank.code_for(fields["loginId"], institution=fields.get("institutionId", ""))}


def _reset(call: Call, bank: Bank) -> dict[str, Any]:
    bank.reset()
    return _summary(call, bank)


_ACTIONS: dict[str, dict[str, Callable[[Call, Bank], Any]]] = {
    "": {"GET": _summary},
    "arrivals": {"GET": _arrivals},
    "token-requests": {"GET": _token_requests},
    "settings": {"GET": _settings, "PUT": _change_settings},
    "faults": {"GET": _faults, "POST": _add_faults, "DELETE": _clear_faults},
    "expire": {"POST": _expire},
    "revoke": {"POST": _revoke},
    "codes": {"POST": _codes},
    "reset": {"POST": _reset},
}


def _json(call: Call) -> Any:
    if not call.body_length:
        return {}
    try:
        return json.loads(call.body)
    except ValueError:
        raise ValueError("the body is not JSON, or larger than 64 KiB") from None


def _object(call: Call) -> dict[str, Any]:
    value = _json(call)
    if not isinstance(value, dict):
        raise ValueError("expected a JSON object")
    return value


def _only(fields: dict[str, Any], **known: type) -> dict[str, Any]:
    for name, value in fields.items():
        if name not in known:
            raise ValueError(f"{name}: no such field; known are {', '.join(known)}")
        if not isinstance(value, known[name]):
            raise ValueError(f"{name}: expected {known[name].__name__}")
    return fields


def _last(call: Call, items: list[_T]) -> list[_T]:
    text = call.arguments.get("last", "20")
    if not (text.isascii() and text.isdecimal()):
        raise ValueError("last: expected a number")
    return items[-int(text) :] if int(text) else []
