"""From an empty folder to working applications, by typed commands."""

import asyncio
import json
from pathlib import Path

import yaml

from proxy.sandbox import Sandbox
from tests.cli.commands.inside import Inside
from tests.support.process import RunningProxy
from tests.support.program import environment, program


async def test_from_an_empty_folder(bank: Sandbox, tmp_path: Path, inside: Inside) -> None:
    """Init, certificate and run; then clients by base URL, HTTP_PROXY and HTTPS.

    The doctor succeeds before and during the run.
    """
    made = tmp_path / "made"
    keys = {"CLIENT_ID": "sandbox-client", "CLIENT_SECRET": "sandbox-secret"}
    given = {f"CANDESCENT_{name}": text for name, text in keys.items()}
    where = ("--base-url", bank.url, "--institution", "00016")
    ports = ("--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0")
    assert (await inside.run("init", made, *where, *ports, **given))[0] == 0
    for name in given:
        inside.monkeypatch.delenv(name)
    assert (await inside.run("certificate", "--folder", made))[0] == 0
    secure = {"listen": "127.0.0.1:0", "callers": {"certificate_file": str(made / "server.pem")}}
    settings = yaml.safe_dump({"listeners": {"secure": secure}})
    file = made / "proxy.yaml"
    file.write_text(file.read_text() + "\n" + settings)
    code, out, _ = await inside.run("doctor", "--config", file)
    assert (code, out.splitlines()[-1]) == (0, "No problems found."), out
    async with program("run", "--config", file) as started:
        reported = await started.wait_for_event("listening")
        running = RunningProxy(started, reported["listen"], reported["admin"])
        await running.ready()
        main, https = await listeners(running)
        by_base_url = await curl(f"http://{main}/v1/accounts")
        by_http_proxy = await curl(f"{bank.url}/v1/accounts", "--proxy", f"http://{main}")
        by_https = await curl(f"https://{https}/v1/accounts", "--cacert", made / "authority.pem")
        assert [by_base_url, by_http_proxy, by_https] == ["200", "200", "200"]
        arrived = [arrival.target for arrival in bank.bank.arrivals if arrival.method == "GET"]
        assert arrived == ["/v1/accounts"] * 5  # the doctor's are the first two
        code, out, _ = await inside.run("doctor", "--json", "--config", file)
        assert (code, json.loads(out)["ok"]) == (0, True)


async def listeners(running: RunningProxy) -> tuple[str, str]:
    """Return the addresses of both listeners from the status."""
    _, text = await running.ask("/api/status")
    found = {way["name"]: way["address"] for way in json.loads(text)["listeners"]}
    return found["main"], found["secure"]


async def curl(url: str, *flags: str | Path) -> str:
    """Call a URL with curl, without credentials; return the status."""
    process = await asyncio.create_subprocess_exec(
        *("curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", *map(str, flags), url),
        stdout=asyncio.subprocess.PIPE,
        env=environment(),
    )
    out, _ = await process.communicate()
    return out.decode()
