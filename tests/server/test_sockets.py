"""Sockets that listen, and who may connect to them."""

import os
import socket
import stat
from pathlib import Path

import pytest

from proxy.server.address import Address
from proxy.server.sockets import bound_address, for_owner_only, tcp_sockets, unix_socket


def test_socket_is_private_until_its_mode_is_set(tmp_path: Path) -> None:
    """Whatever the umask, only the owner may connect before."""
    mask = os.umask(0)
    try:
        with for_owner_only(str(tmp_path / "socket"), 0o666), socket.socket(socket.AF_UNIX) as one:
            one.bind(str(tmp_path / "socket"))
            assert stat.S_IMODE((tmp_path / "socket").stat().st_mode) == 0o600
        assert stat.S_IMODE((tmp_path / "socket").stat().st_mode) == 0o666
    finally:
        os.umask(mask)


async def test_every_address_of_a_name() -> None:
    """A name is listened on at all its addresses, as far as the machine has them."""
    sockets = await tcp_sockets(Address("localhost", 0))
    try:
        assert {bound_address(sock).host for sock in sockets} <= {"127.0.0.1", "::1"}
        for sock in sockets:
            socket.create_connection(sock.getsockname()[:2], timeout=5).close()
    finally:
        for sock in sockets:
            sock.close()


def test_file_that_is_no_socket_stays(tmp_path: Path) -> None:
    """Only sockets are replaced."""
    (tmp_path / "socket").write_text("precious")
    with pytest.raises(OSError, match=r"."):
        unix_socket(str(tmp_path / "socket"), 0o600)
    assert (tmp_path / "socket").read_text() == "precious"
