"""``healthcheck``, for containers."""

import asyncio
import json
from pathlib import Path

from proxy.sandbox import Fault, Sandbox
from tests.cli.commands.inside import Inside
from tests.support.running import running, until

FAILED, WRONG = 1, 2


async def test_healthcheck(inside: Inside) -> None:
    """0 when ready, with ``--live`` when alive; ``HTTP_PROXY`` is not for a port of one's own."""
    async with Sandbox() as bank, running(bank) as app:
        admin = ("--admin", str(app.admin_address))
        for arguments, status in (((), "ready"), (("--live",), "alive")):
            code, out, err = await inside.run("healthcheck", *admin, *arguments)
            assert (code, json.loads(out)["status"], err) == (0, status, "")


async def test_healthcheck_of_a_proxy_that_is_not_ready(inside: Inside) -> None:
    """1 with the reason on standard error; alive it is all the same."""
    async with Sandbox() as bank:
        bank.bank.faults.append(Fault("token", code="CMN_90004"))
        async with running(bank, ready=False) as app:
            await until(lambda: "client id and secret" in str(app.readiness().reasons))
            admin = {"CANDESCENT_ADMIN": str(app.admin_address)}
            code, out, err = await inside.run("healthcheck", **admin)
            assert (code, out) == (1, "")
            assert "client id and secret" in err
            assert (await inside.run("healthcheck", "--live"))[0] == 0


async def test_healthcheck_without_a_proxy(inside: Inside, tmp_path: Path) -> None:
    """1 in one line when nothing answers where the configuration says, or not with HTTP."""
    file = tmp_path / "proxy.yaml"
    file.write_text("admin: 0.0.0.0:9\nlisen: and so on\n")
    code, _, err = await inside.run("healthcheck", "--config", file)
    assert code == 1
    assert err.startswith("candescent-proxy: nothing answers on 127.0.0.1:9 (")

    async def mumble(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-OpenSSH_9.6\r\n")
        writer.close()

    async with await asyncio.start_server(mumble, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        code, _, err = await inside.run("healthcheck", "--admin", f"127.0.0.1:{port}")
    assert (code, err) == (1, f"candescent-proxy: what answers on 127.0.0.1:{port} is not HTTP")
