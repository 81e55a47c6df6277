"""The sandbox bank: an embedded server that behaves as the public bank API does.

What a newcomer runs against (``candescent-proxy sandbox``), and the real server of the tests. It
imports nothing of the rest of the package. A call goes one way through it:

    server → dispatch → (guard, faults)
      → tokens_v2 | tokens_v1 | resources | legacy | plumbing → bank

    call.py        PURE  Call and Reply, the two values that everything here is about
    codes.py       PURE  the table of errors and their three shapes
    bank_settings.py PURE  what can be set, at start and at run time
    faults.py      PURE  what shall go wrong, where, how often
    request_limits.py PURE  quota and spike
    bank.py        PURE  the books: tokens, arrivals, counts
    guard.py       PURE  who may see a resource
    tokens_v2.py   PURE  /oauth2/v1/token and /oauth2/v1/revoke
    tokens_v1.py   PURE  /v1/oauth/token
    resources.py   PURE  V2 resources;  legacy.py  V1;  plumbing.py  echo, download and such
    control.py     PURE  /_sandbox, control at run time
    dispatch.py    PURE  which of them serves a call
    http_server.py IO    sockets
"""

from proxy.sandbox.bank import Arrival, Bank, IssuedToken, TokenArrival
from proxy.sandbox.bank_settings import Business, Settings, User
from proxy.sandbox.fault_json import fault_from
from proxy.sandbox.faults import UNTOUCHED, Fault
from proxy.sandbox.http_server import Sandbox
from proxy.sandbox.payloads import pattern, pattern_sha256
from proxy.sandbox.settings_json import changed

__all__ = [
    "UNTOUCHED",
    "Arrival",
    "Bank",
    "Business",
    "Fault",
    "IssuedToken",
    "Sandbox",
    "Settings",
    "TokenArrival",
    "User",
    "changed",
    "fault_from",
    "pattern",
    "pattern_sha256",
]
