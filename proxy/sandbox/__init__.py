"""The sandbox bank: an embedded server that implements the public bank API.

``candescent-proxy sandbox`` runs it, and the tests use it as their bank. It imports nothing from
the rest of the package. A request passes through these modules:

    http_server → dispatch → guard, faults
      → tokens_v2 | tokens_v1 | resources | legacy | plumbing → bank

    call.py            Call and Reply: a request and a response as plain values
    codes.py           the bank's error codes and their three body formats
    bank_settings.py   the settings; settings_json.py reads and writes them as JSON
    faults.py          injected faults; fault_json.py reads and writes them as JSON
    request_limits.py  quota and spike limits
    bank.py            the state: tokens, received requests, counters
    guard.py           authentication of resource calls
    call_checks.py     checks shared by several endpoints
    tokens_v2.py       /oauth2/v1/token, /oauth2/v1/revoke
    tokens_v1.py       /v1/oauth/token
    resources.py       V2 resources; samples.py has their data
    legacy.py          V1 resources
    plumbing.py        test resources: echo, download, status and others
    payloads.py        large and malformed bodies
    control.py         /_sandbox: control at run time; views.py has its JSON
    dispatch.py        finds the handler of a request
    body_io.py         reads and writes bodies
    http_server.py     sockets
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
