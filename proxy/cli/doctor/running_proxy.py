"""Asks a proxy that is already running how healthy it is. Nothing is counted there."""

import json
from collections.abc import Iterator

from proxy.cli import admin_client
from proxy.cli.doctor.results import CheckResult, Level, info, ok
from proxy.server.address import Address

_PROBLEMS = {"failing": Level.FAILED, "warning": Level.WARNING}


def check(admin: Address) -> Iterator[CheckResult]:
    """Yield what the proxy with this admin port says of itself; nothing where none runs."""
    _, text = admin_client.probe(admin_client.reachable(admin), "readyz")
    try:
        health = json.loads(text)["health"]
        state, sentence = health["state"], f"The running proxy: {health['sentence']}"
        cause, reason, advice = health["cause"], health["reason"], health["advice"]
    except (ValueError, KeyError, TypeError):
        return
    if state in _PROBLEMS:
        yield CheckResult("proxy", _PROBLEMS[state], f"{sentence} {cause}", reason, advice)
    else:
        yield ok("proxy", sentence) if state == "ok" else info("proxy", sentence)
