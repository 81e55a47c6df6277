"""Who may see the status page: this machine may, and whom the operator lets in."""

from dataclasses import replace

import pytest

from proxy.admin.page_access import PageAccess, is_local

LOOPBACK = PageAccess("127.0.0.1:9090", "127.0.0.1", allows_any_host=True)
EVERYWHERE = PageAccess("0.0.0.0:9090", "0.0.0.0", allows_any_host=False)  # noqa: S104 - nothing listens here


def refusal(
    access: PageAccess,
    peer: str = "127.0.0.1",
    host: str = "127.0.0.1:9090",
    **more: str,
) -> str:
    """Return what a visitor is told; ``_`` in a header's name stands for ``-``."""
    headers = {"host": host, **{name.lower().replace("_", "-"): more[name] for name in more}}
    return access.refusal(peer, headers)


def test_port_that_others_reach() -> None:
    """Other machines are refused, with what to do; this one is let in, by a forwarded port too."""
    said = refusal(EVERYWHERE, "10.0.0.9", "10.0.0.1:9090")
    assert "status_page: on" in said
    assert "0.0.0.0:9090" in said
    assert refusal(EVERYWHERE, "127.0.0.1", "localhost:9090") == ""
    assert refusal(EVERYWHERE, "::1", "[::1]:9090") == ""


@pytest.mark.parametrize("header", ["X_Forwarded_For", "forwarded", "x_real_ip"])
def test_who_comes_through_a_proxy_is_no_neighbour(header: str) -> None:
    """A proxy on this machine brings strangers; it says so."""
    assert refusal(EVERYWHERE, "127.0.0.1", "localhost", **{header: "10.0.0.9"})
    assert not refusal(LOOPBACK, "127.0.0.1", "localhost", **{header: "10.0.0.9"})


def test_operators_word() -> None:
    """With ``status_page: on`` whoever reaches the port sees it."""
    assert refusal(replace(EVERYWHERE, allows_any_host=True), "10.0.0.9", "10.0.0.1:9090") == ""


def test_socket_is_for_its_owner() -> None:
    """On a Unix socket there are no names and no addresses; its file mode decides."""
    access = PageAccess("unix:/run/admin.sock", "", allows_any_host=False)
    assert refusal(access, "", "whatever") == ""


@pytest.mark.parametrize(
    ("peer", "local"),
    [
        *(("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("::ffff:127.0.0.1", True)),
        *(("10.0.0.1", False), ("::ffff:10.0.0.1", False), ("fe80::1%eth0", False), ("", False)),
        ("localhost", False),
    ],
)
def test_this_machine(peer: str, local: bool) -> None:
    """Loopback in either family, also written as the other."""
    assert is_local(peer) == local
