"""The process as the status page shows it."""

from proxy.config import loader
from proxy.runtime.about import about, listeners
from proxy.server.address import Address
from proxy.tokens.token import Instant

FLAGS = {
    "base_url": "https://bank.test/digitalbanking",
    "institution_id": "00016",
    "client_id": "i",
    "client_secret": "s",
    "listeners": {"branch": {"listen": "127.0.0.1:0"}},
}


def test_uptime_is_monotonic() -> None:
    """A change of the wall clock does not affect it."""
    config = loader.load(None, {}, FLAGS)
    shown = about(config, Instant(100.0, 1_800_000_000.0), Instant(160.0, 1_700_000_000.0))
    assert (shown.started_at, shown.uptime) == (1_800_000_000.0, 60.0)
    assert (shown.upstream, shown.institution) == ("https://bank.test/digitalbanking", "00016")


def test_listeners_have_their_addresses() -> None:
    """Port 0 is replaced by the opened port; the admin port is last."""
    config = loader.load(None, {}, FLAGS)
    opened = {
        "main": Address(host="127.0.0.1", port=8080),
        "branch": Address(host="127.0.0.1", port=8081),
    }
    shown = listeners(config, opened, Address(host="127.0.0.1", port=9090))
    assert [(one.name, one.address, one.tls, one.authenticated) for one in shown] == [
        ("main", "127.0.0.1:8080", False, False),
        ("branch", "127.0.0.1:8081", False, False),
        ("admin", "127.0.0.1:9090", False, False),
    ]
