"""``demo --once``; tests/cli/test_tour.py has the rest."""

import asyncio
import shlex
from pathlib import Path

from tests.support.program import ROOT, environment, program


async def test_demo_once_shows_a_refresh() -> None:
    """Requests, what the bank received, a refreshed token, and exit code 0."""
    async with program("demo", "--once") as it:
        code = await it.end()
    text = "\n".join(it.out)
    assert (code, it.err) == (0, [])
    for reported in (
        "The caller sent",
        "GET /v1/accounts?loginId=juniper.quill",
        "POST /v1/transfers",
        "The bank saw",
        "Authorization: Bearer ",
        "transactionId: ",
        "institutionId: 00016",
        "What came back",
        "the proxy has fetched its successor: token request no. 2",
        "candescent_proxy_token_refreshes_total",
        "Status page: http://127.0.0.1:",
    ):
        assert reported in text
    bearers = {line.strip() for line in it.out if "Authorization: Bearer" in line}
    assert len(bearers) == 2  # before the refresh and after it
    assert "sandbox-secret" not in text


async def test_printed_commands_work(tmp_path: Path) -> None:
    """The commands that the demo prints at its end run in the same folder."""
    async with program("demo", "--once") as it:
        assert await it.end() == 0
    init, sandbox = (shlex.split(line.partition("(")[0]) for line in it.out[-2:])
    assert (init[-1], sandbox[-1]) == ("init", "sandbox")
    for offered in ([*init, "--no-trial", "--sandbox", str(tmp_path)], [*sandbox, "--help"]):
        typed = await asyncio.create_subprocess_exec(*offered, cwd=ROOT, env=environment())
        assert await typed.wait() == 0
    assert (tmp_path / "proxy.yaml").exists()
