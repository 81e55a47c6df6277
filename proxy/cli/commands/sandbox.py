"""``sandbox``: runs the embedded bank for development."""

import argparse
import json
from collections.abc import Iterable
from typing import Any

from proxy import sandbox
from proxy.cli.commands import OK
from proxy.cli.commands.common import duration
from proxy.config import loader
from proxy.errors import ConfigError
from proxy.runtime import serve as runner
from proxy.sandbox import Fault, Sandbox, Settings
from proxy.server.address import Address
from proxy.server.sockets import cannot_listen

ABOUT = """\
Runs a bank for development, with test credentials, users and faults. Nothing leaves this machine.
"""
EXAMPLE = """\
  candescent-proxy sandbox --lifetime 2m --fault '{"where": "token", "code": "CMN_90002"}'
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add address, settings and faults."""
    parser.add_argument("--listen", metavar="HOST:PORT", default="127.0.0.1:8081")
    parser.add_argument(
        "--lifetime", type=duration, default=3600.0, metavar="TIME", help="of tokens (default 1h)"
    )
    parser.add_argument("--base-path", default="", help="such as /digitalbanking/stage")
    parser.add_argument("--settings", metavar="JSON", default="{}", help="any of its settings")
    parser.add_argument(
        "--fault",
        metavar="JSON",
        action="append",
        default=[],
        help='such as {"where": "token", "code": "CMN_90002", "times": 3}; may be repeated',
    )


def run(arguments: argparse.Namespace) -> int:
    """Run the bank. Raises ``ConfigError`` for invalid settings."""
    address = loader.address("--listen", arguments.listen)
    wanted = {"lifetime": arguments.lifetime, "base_path": arguments.base_path}
    try:
        bank = sandbox.changed(sandbox.Settings(), wanted | _json_object(arguments.settings))
        faults = [sandbox.fault_from(_json_object(fault)) for fault in arguments.fault]
    except ValueError as error:
        raise ConfigError([f"sandbox: {error}"]) from error
    return runner.run(serve(address, bank, faults))


def _json_object(text: str) -> dict[str, Any]:
    try:
        document = json.loads(text)
    except ValueError as error:
        raise ValueError(f"not JSON ({error}): {text}") from error
    if not isinstance(document, dict):
        raise ValueError(f"expected a JSON object, not {text}")
    return document


async def serve(address: Address, bank: Settings, faults: Iterable[Fault]) -> int:
    """Run the sandbox bank until SIGTERM or SIGINT. Raises ``ConfigError`` for a port in use."""
    stop = runner.stop_signal()
    server = Sandbox(bank)
    server.bank.faults.extend(faults)
    try:
        await server.start(address.host, address.port)
    except OSError as error:
        raise cannot_listen("listen", address, error) from error
    client, secret = next(iter(bank.clients.items()))
    print(f"The sandbox bank is listening; its base URL is {server.url}")
    print(
        f"Client id {client}, client secret {secret}, institutions {', '.join(bank.institutions)}"
    )
    print(f"Change it while it runs: curl {server.url}/_sandbox/", flush=True)
    _ = await stop
    await server.stop()
    return OK
