"""Checks of ports; test_checks has whole set-ups."""

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
def test_system_errors_have_causes(number: int, cause: str) -> None:
    """A privileged port, and an address of another machine."""
    error = OSError(number, os.strerror(number))
    finding = machine.refused("listen", HERE, error, HERE)
    assert (finding.cause, finding.level) == (cause, Level.FAILED)
    assert "127.0.0.1:80" in finding.text


def test_check_releases_the_port() -> None:
    """The proxy can listen afterwards."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    address = Address(host="127.0.0.1", port=port)
    for _ in range(2):
        (finding,) = machine.port("listen", address, HERE)
        assert finding.level is Level.OK


def test_stale_socket_file_is_no_problem(tmp_path: Path) -> None:
    """It is not removed."""
    path = tmp_path / "left.sock"
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))
    address = Address(host="", port=0, path=str(path))
    (finding,) = machine.port("listen", address, HERE)
    assert finding.level is Level.OK
    assert path.exists()


async def test_too_few_open_files() -> None:
    """A low limit is a problem; a higher one solves it."""
    reported = {**CREDENTIALS, "CANDESCENT_BASE_URL": "http://127.0.0.1:9"}
    limit = ("prlimit", "--nofile=512:512")
    code, out, _ = await run_program("doctor", before=limit, **reported)
    assert code == 1  # there is no bank
    assert "This user may open 512 files" in out
    assert "Fix: ulimit -n 2512" in out
    _, out, _ = await run_program("doctor", before=("prlimit", "--nofile=2512:2512"), **reported)
    assert "ulimit" not in out
