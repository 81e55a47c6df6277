"""The way to the bank: connections of our own, one HTTP/1.1 exchange at a time on each."""

from proxy.upstream.connection import Connection, Deadlines
from proxy.upstream.pool import Limits, Origin, Pool

__all__ = ["Connection", "Deadlines", "Limits", "Origin", "Pool"]
