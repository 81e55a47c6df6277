"""What the system grants this process: files to open, and so connections; and no core dumps.

A process that runs out of them can neither take a caller nor reach the bank, and its event loop
closes newcomers without a word. So the limits on connections are brought down to what fits, and
whoever comes on top of that is told so.
"""

import sys
from dataclasses import replace

from proxy.admin.admin_server import LIMITS as ADMIN_LIMITS
from proxy.config.model import Config
from proxy.server.port import MAX_OPENING
from proxy.server.server import MAX_REFUSED

RESERVE = 64 + ADMIN_LIMITS.max_connections + MAX_REFUSED + MAX_OPENING
"""Files for all but callers and the bank: listeners, log, event loop, files that are read anew,
token calls, and the whole admin port."""

if sys.platform != "win32":
    import resource


def raise_limit(wanted: int) -> int:
    """Raise the limit of open files to ``wanted``, if that may be; return what it is now."""
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
    """Return how many files a proxy of this configuration may come to have open."""
    # A reload has two pools for a while. Each listener has its own limit on callers.
    callers = len(config.listener_configs) * config.limits.max_connections
    return callers + 2 * config.upstream.max_connections + _unserved(config) + RESERVE


def _unserved(config: Config) -> int:
    """Return how many callers may be connected beyond the limit: new ones, and refused ones."""
    handshakes = max(config.limits.max_handshakes, MAX_OPENING)
    return sum(
        MAX_REFUSED + (handshakes if listener.callers.certificate_file else MAX_OPENING)
        for listener in config.listener_configs
    )


def fit_to_limit(config: Config, limit: int) -> Config:
    """Return the configuration with as many connections as fit into ``limit`` open files."""
    if files_needed(config) <= limit:
        return config
    handshakes = min(config.limits.max_handshakes, MAX_OPENING)
    limits = replace(config.limits, max_handshakes=handshakes)
    config = config.model_copy(update={"limits": limits})
    # One caller for each listener and one connection to the bank is the least.
    listeners = len(config.listener_configs)
    room = max(limit - RESERVE - _unserved(config), listeners + 2)
    share = min(room // 4, (room - listeners) // 2)
    upstream = min(config.upstream.max_connections, max(share, 1))
    callers = min(config.limits.max_connections, (room - 2 * upstream) // listeners)
    return config.model_copy(
        update={
            "limits": replace(limits, max_connections=callers),
            "upstream": replace(config.upstream, max_connections=upstream),
        }
    )


def forbid_core_dumps() -> None:
    """Keep the memory of a process that crashes, and the secrets in it, from being written down."""
    if sys.platform == "win32":
        return
    hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
    # A limit of one byte also stops dumps that go to a program; for those, none means any size.
    if hard != 0:
        resource.setrlimit(resource.RLIMIT_CORE, (1, hard))
