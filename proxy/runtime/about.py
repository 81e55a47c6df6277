"""What the status page shows of the process and its listeners."""

from collections.abc import Mapping

from proxy import __version__
from proxy.admin.document import About, ListenerStatus
from proxy.config.model import Config
from proxy.server.address import Address
from proxy.tokens.token import Instant


def about(config: Config, started: Instant, now: Instant) -> About:
    """Return version, uptime and upstream."""
    return About(
        version=__version__,
        started_at=started.wall,
        uptime=now.since(started),
        upstream=config.url.geturl(),
        institution=config.institution_id,
    )


def listeners(
    config: Config, addresses: Mapping[str, Address], admin: Address
) -> list[ListenerStatus]:
    """Return the listeners and the admin port; ``addresses`` are the bound ones, by name."""
    listeners = [
        ListenerStatus(
            name=listener.name,
            address=str(addresses[listener.name]),
            tls=listener.callers.certificate_file is not None,
            authenticated=listener.callers.are_authenticated,
        )
        for listener in config.listener_configs
    ]
    return [
        *listeners,
        ListenerStatus(name="admin", address=str(admin), tls=False, authenticated=False),
    ]
