"""Broken set-ups: ports and sockets of this machine."""

import socket

import pytest

from proxy.cli import admin_client
from tests.cli.doctor.healthy_setup import DoctorSetup, serve_bytes
from tests.cli.doctor.setups import Steps, setup


@setup
async def port_in_use(setup: DoctorSetup) -> Steps:
    """By another program."""
    port = await serve_bytes(b"HTTP/1.1 200 OK\r\n\r\n", setup.stack)
    setup.set(listen=f"127.0.0.1:{port}")
    finding = yield "port-taken"
    assert f"127.0.0.1:{port}" in finding.text
    setup.set(listen="127.0.0.1:0")


def short_timeout(setup: DoctorSetup) -> None:
    """Wait only briefly for the program on a port."""
    patch = setup.stack.enter_context(pytest.MonkeyPatch.context())
    patch.setattr(admin_client, "TIMEOUT", 0.3)


@setup
async def silent_port(setup: DoctorSetup) -> Steps:
    """The admin port is used by a program that never responds."""
    short_timeout(setup)
    port = await serve_bytes(b"", setup.stack, hold=True)
    setup.set(admin=f"127.0.0.1:{port}")
    _ = yield "port-taken"
    setup.set(admin="127.0.0.1:0")


@setup
async def socket_in_use(setup: DoctorSetup) -> Steps:
    """By another program."""
    short_timeout(setup)
    path = setup.folder / "app.sock"
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))
        sock.listen()
        setup.set(listen=f"unix:{path}")
        _ = yield "port-taken"
    assert path.exists()  # a stale socket file is no problem


@setup
async def address_of_another_machine(setup: DoctorSetup) -> Steps:
    """It was copied with the file."""
    setup.set(admin="192.0.2.1:9090")
    _ = yield "port-address"
    setup.set(admin="127.0.0.1:0")


@setup
async def socket_without_a_folder(setup: DoctorSetup) -> Steps:
    """The folder does not exist."""
    folder = setup.folder / "sockets"
    setup.set(listen=f"unix:{folder}/app.sock")
    _ = yield "socket-folder"
    folder.mkdir()
