"""Ports: what stands in the way of listening, told apart; whole set-ups are in test_examination."""

import errno
import os
import socket
from pathlib import Path

import pytest

from proxy.cli.doctor import machine
from proxy.cli.doctor.results import Level
from proxy.server.address import Address
from tests.support.program import CREDENTIALS, run_program

HERE = Address(host="127.0.0.1", port=80)


@pytest.mark.parametrize(
    ("number", "cause"),
    [(errno.EACCES, "port-forbidden"), (errno.EADDRNOTAVAIL, "port-address")],
)
def test_what_the_system_says(number: int, cause: str) -> None:
    """A port for administrators only, and an address of another machine, have their names."""
    error = OSError(number, os.strerror(number))
    finding = machine.refused("listen", HERE, error, is_tls=False)
    assert (finding.cause, finding.level) == (cause, Level.FAILED)
    assert "127.0.0.1:80" in finding.text


def test_port_is_free_again_afterwards() -> None:
    """Looking at a port does not keep the proxy from it."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    address = Address(host="127.0.0.1", port=port)
    for _ in range(2):
        (finding,) = machine.port("listen", address, is_tls=False)
        assert finding.level is Level.OK


def test_socket_file_that_was_left_behind(tmp_path: Path) -> None:
    """The proxy replaces it, so it is no hindrance; and looking does not take it away."""
    path = tmp_path / "left.sock"
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))
    address = Address(host="", port=0, path=str(path))
    (finding,) = machine.port("listen", address, is_tls=False)
    assert finding.level is Level.OK
    assert path.exists()


async def test_too_few_open_files() -> None:
    """Under a limit that is too low for the connections that are configured; a higher one cures."""
    told = {**CREDENTIALS, "CANDESCENT_BASE_URL": "http://127.0.0.1:9"}
    limit = ("prlimit", "--nofile=512:512")
    code, out, _ = await run_program("doctor", before=limit, **told)
    assert code == 1  # for there is no bank
    assert "This user may open 512 files" in out
    assert "Fix: ulimit -n 2512" in out
    _, out, _ = await run_program("doctor", before=("prlimit", "--nofile=2512:2512"), **told)
    assert "ulimit" not in out
