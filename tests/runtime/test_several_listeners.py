"""The program with several listeners, as a process."""

from pathlib import Path

import aiohttp

from proxy.sandbox import Sandbox
from tests.support.process import process, write_settings
from tests.support.program import CREDENTIALS, run_program

LISTENERS = {"payroll": {"listen": "127.0.0.1:0", "institution_id": "00017"}}


async def test_log_has_every_listener(tmp_path: Path) -> None:
    """The start event has each listener's address, with its actual port."""
    async with (
        Sandbox() as bank,
        process(
            tmp_path / "c.yaml", bank.url, allowed_institutions=["00017"], listeners=LISTENERS
        ) as running,
    ):
        reported = await running.program.wait_for_event("listening")
        assert reported["listeners"].keys() == {"payroll"}
        for address, institution in (
            (reported["listen"], "00016"),
            (reported["listeners"]["payroll"], "00017"),
        ):
            async with aiohttp.request("GET", f"http://{address}/echo") as response:
                assert (await response.json())["institution"] == institution
        labels = {"listener": "payroll", "application": "none"}
        labels |= {"status_class": "2xx", "error_source": "none"}
        name = "candescent_proxy_listener_requests_total"
        assert await running.sample(name, **labels) == 1


async def test_every_address_of_the_bank_is_shown(tmp_path: Path) -> None:
    """By the log at start, and by ``check-config``."""
    (tmp_path / "secret").write_text("sandbox-secret\n")
    client = {"client_id": "sandbox-client", "client_secret_file": str(tmp_path / "secret")}
    file = tmp_path / "c.yaml"
    async with Sandbox() as bank, Sandbox() as other:
        own = {"00017": {"base_url": other.url, **client}, "00018": client}
        async with process(file, bank.url, institutions=own) as running:
            reported = await running.program.wait_for_event("listening")
            assert (reported["upstream"], reported["upstreams"]) == (bank.url, {"00017": other.url})
        code, out, _ = await run_program("check-config", "--config", file, **CREDENTIALS)
        assert (code, out.strip().endswith(f"→ {bank.url}, {other.url}")) == (0, True)


async def test_check_config_checks_every_listener(tmp_path: Path) -> None:
    """Its files too; each error has its path."""
    file, lost = tmp_path / "c.yaml", tmp_path / "lost"
    callers = {"secret_files": [str(lost)]}
    write_settings(
        file,
        "https://bank.test",
        listen="127.0.0.1:8080",
        listeners={"payroll": {"listen": "127.0.0.1:8091", "callers": callers}},
    )
    code, out, err = await run_program("check-config", "--config", file, **CREDENTIALS)
    assert (code, out) == (2, "")
    assert "listeners.payroll.callers.secret_files.0: " in err
    lost.write_text("open-sesame")
    code, out, _ = await run_program("check-config", "--config", file, **CREDENTIALS)
    assert code == 0
    assert "127.0.0.1:8080, 127.0.0.1:8091" in out
