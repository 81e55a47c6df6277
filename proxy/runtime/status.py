"""What the status page says of the process: which proxy it is and where it listens."""

from collections.abc import Mapping

from proxy import __version__
from proxy.admin.document import About, Listener
from proxy.config.model import Config
from proxy.server.address import Address
from proxy.tokens.token import Moment


def about(config: Config, started: Moment, now: Moment) -> About:
    """Return which proxy this is."""
    return About(
        version=__version__,
        started_at=started.wall,
        uptime=now.since(started),
        upstream=config.url.geturl(),
        institution=config.institution_id,
    )


def listeners(config: Config, addresses: Mapping[str, Address], admin: Address) -> list[Listener]:
    """Return where a proxy listens; ``addresses`` are those of the ways in, by name."""
    ways = [
        Listener(
            name=way.name,
            address=str(addresses[way.name]),
            tls=way.callers.certificate_file is not None,
            authenticated=way.callers.are_authenticated,
        )
        for way in config.ways
    ]
    return [*ways, Listener(name="admin", address=str(admin), tls=False, authenticated=False)]
