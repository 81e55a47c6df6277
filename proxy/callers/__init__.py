"""The listening side: callers' connections, one HTTP/1.1 request after another on each.

On llhttp in its strict mode, like the upstream side, so that both read a message alike.
"""

from proxy.callers.connection import CallerConnection
from proxy.callers.limits import CallerLimits
from proxy.callers.request import Answer, Body, Request
from proxy.callers.server import Server

__all__ = ["Answer", "Body", "CallerConnection", "CallerLimits", "Request", "Server"]
