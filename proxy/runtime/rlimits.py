"""Resource limits of the process: open files, and thereby connections; and no core dumps.

A process without free file descriptors can neither accept callers nor reach the bank. So the limits
on connections are reduced to what fits, and callers beyond them get a 503.
"""

import sys
from dataclasses import replace

from proxy.admin.admin_server import LIMITS as ADMIN_LIMITS
from proxy.config.model import Config
from proxy.server.port import MAX_OPENING
from proxy.server.server import MAX_REFUSED

RESERVE = 64 + ADMIN_LIMITS.max_connections + MAX_REFUSED + MAX_OPENING
"""Files for everything but callers and the bank: listeners, log, event loop, files that are
reloaded, token calls, and the whole admin port."""

if sys.platform != "win32":
    import resource


def raise_limit(wanted: int) -> int:
    """Raise the limit of open files to ``wanted``, if permitted; return the resulting limit."""
    if sys.platform == "win32":
        return wanted
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return wanted
    reach = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if reach > soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (reach, hard))
    return max(reach, soft)


def files_needed(config: Config) -> int:
    """Return the largest number of open files with this configuration."""
    # During a reload each origin has two pools. Each listener has its own limit on callers.
    callers = len(config.listener_configs) * config.limits.max_connections
    upstream = sum(origin.upstream.max_connections for origin in config.origins)
    return callers + 2 * upstream + _unserved(config) + RESERVE


def _unserved(config: Config) -> int:
    """Return the number of connections beyond the limit: in handshake, and being refused."""
    handshakes = max(config.limits.max_handshakes, MAX_OPENING)
    return sum(
        MAX_REFUSED + (handshakes if listener.callers.certificate_file else MAX_OPENING)
        for listener in config.listener_configs
    )


def fit_to_limit(config: Config, limit: int) -> Config:
    """Return the configuration with as many connections as fit into ``limit`` open files."""
    if files_needed(config) <= limit:
        return config
    handshakes = min(config.limits.max_handshakes, max(limit // 8, MAX_OPENING))
    limits = replace(config.limits, max_handshakes=handshakes)
    config = config.model_copy(update={"limits": limits})
    # At least one caller for each listener and one connection to each origin.
    listeners, origins = len(config.listener_configs), len(config.origins)
    room = max(limit - RESERVE - _unserved(config), listeners + 2 * origins)
    share = max(min(room // 4, (room - listeners) // 2) // origins, 1)
    upstream = min(config.upstream.max_connections, share)
    institutions = {
        name: one.model_copy(update={"upstream": replace(one.upstream, max_connections=upstream)})
        for name, one in config.institutions.items()
        if config.origin_of(name).upstream.max_connections > upstream
    }
    config = config.model_copy(
        update={
            "upstream": replace(config.upstream, max_connections=upstream),
            "institutions": config.institutions | institutions,
        }
    )
    used = sum(origin.upstream.max_connections for origin in config.origins)
    callers = min(config.limits.max_connections, (room - 2 * used) // listeners)
    return config.model_copy(update={"limits": replace(limits, max_connections=callers)})


def forbid_core_dumps() -> None:
    """Prevent core dumps, which contain secrets."""
    if sys.platform == "win32":
        return
    hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
    # A limit of one byte also stops dumps to a program, for which 0 would mean any size.
    if hard != 0:
        resource.setrlimit(resource.RLIMIT_CORE, (1, hard))
