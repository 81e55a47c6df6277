"""What the system grants this process: files to open, and so connections; and no core dumps.

A process that runs out of them can neither take a caller nor reach the bank, and its event loop
closes newcomers without a word. So the limits on connections are brought down to what fits, and
whoever comes on top of that is told so.
"""

import sys
from dataclasses import replace

from proxy.config.model import Config

RESERVE = 96
"""Files for all but connections: listeners, log, event loop, files that are read anew, token
calls, and callers that are being told that there is no room."""

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
    return callers + 2 * config.upstream.max_connections + RESERVE


def fit_to_limit(config: Config, limit: int) -> Config:
    """Return the configuration with as many connections as fit into ``limit`` open files."""
    if files_needed(config) <= limit:
        return config
    # One caller for each listener and one connection to the bank is the least.
    room = max(limit - RESERVE, len(config.listener_configs) + 2)
    share = min(room // 4, (room - len(config.listener_configs)) // 2)
    upstream = min(config.upstream.max_connections, max(share, 1))
    each = (room - 2 * upstream) // len(config.listener_configs)
    callers = min(config.limits.max_connections, each)
    return config.model_copy(
        update={
            "limits": replace(config.limits, max_connections=callers),
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
