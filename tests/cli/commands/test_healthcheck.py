"""``healthcheck``, for containers."""

import asyncio
import json
from pathlib import Path

from proxy.sandbox import Fault, Sandbox
from tests.cli.commands.inside import Inside
from tests.support.running import running, until

FAILED, WRONG = 1, 2


async def test_healthcheck_exits_with_0(inside: Inside) -> None:
    """When ready, or with ``--live`` when alive; ``HTTP_PROXY`` is ignored."""
    async with Sandbox() as bank, running(bank) as app:
        admin = ("--admin", str(app.admin_address))
        for arguments, status in (((), "ready"), (("--live",), "alive")):
            code, out, err = await inside.run("healthcheck", *admin, *arguments)
            assert (code, json.loads(out)["status"], err) == (0, status, "")


async def test_not_ready_exits_with_1(inside: Inside) -> None:
    """With the reason on standard error; ``--live`` succeeds."""
    async with Sandbox() as bank:
        bank.bank.faults.append(Fault("token", code="CMN_90004"))
        async with running(bank, ready=False) as app:
            await until(lambda: "client id and secret" in str(app.readiness().reasons))
            admin = {"CANDESCENT_ADMIN": str(app.admin_address)}
            code, out, err = await inside.run("healthcheck", **admin)
            assert (code, out) == (1, "")
            assert "client id and secret" in err
            assert (await inside.run("healthcheck", "--live"))[0] == 0


async def test_missing_proxy_exits_with_1(inside: Inside, tmp_path: Path) -> None:
    """One line if nothing responds, or not with HTTP."""
    file = tmp_path / "proxy.yaml"
    file.write_text("admin: 0.0.0.0:9\nlisen: and so on\n")
    code, _, err = await inside.run("healthcheck", "--config", file)
    assert code == 1
    assert err.startswith("candescent-proxy: no response from 127.0.0.1:9 (")

    async def respond_nonsense(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-OpenSSH_9.6\r\n")
        writer.close()

    async with await asyncio.start_server(respond_nonsense, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        code, _, err = await inside.run("healthcheck", "--admin", f"127.0.0.1:{port}")
    assert (code, err) == (1, f"candescent-proxy: the response from 127.0.0.1:{port} is not HTTP")
