"""Access to the status page: this machine, or as configured."""

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
    """Return the refusal of a request; ``_`` in a header's name stands for ``-``."""
    headers = {"host": host, **{name.lower().replace("_", "-"): more[name] for name in more}}
    return access.refusal(peer, headers)


def test_public_port_is_limited_to_this_machine() -> None:
    """Others get a remedy; a forwarded port works."""
    said = refusal(EVERYWHERE, "10.0.0.9", "10.0.0.1:9090")
    assert "status_page: on" in said
    assert "0.0.0.0:9090" in said
    assert refusal(EVERYWHERE, "127.0.0.1", "localhost:9090") == ""
    assert refusal(EVERYWHERE, "::1", "[::1]:9090") == ""


@pytest.mark.parametrize("header", ["X_Forwarded_For", "forwarded", "x_real_ip"])
def test_request_through_a_proxy_is_remote(header: str) -> None:
    """Its headers show it."""
    assert refusal(EVERYWHERE, "127.0.0.1", "localhost", **{header: "10.0.0.9"})
    assert not refusal(LOOPBACK, "127.0.0.1", "localhost", **{header: "10.0.0.9"})


def test_status_page_on_allows_all() -> None:
    """Everybody who reaches the port."""
    assert refusal(replace(EVERYWHERE, allows_any_host=True), "10.0.0.9", "10.0.0.1:9090") == ""


def test_unix_socket_is_protected_by_its_mode() -> None:
    """It has no names and addresses."""
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
def test_local_addresses(peer: str, local: bool) -> None:
    """Loopback in both families, also as mapped IPv4."""
    assert is_local(peer) == local
