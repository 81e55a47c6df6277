"""``sandbox``: its options, and a proxy in front of it."""

import json
from signal import SIGINT, SIGTERM

from tests.cli.commands.started import address, get, taken_port
from tests.support.program import ANYWHERE, CREDENTIALS, program, run_program


async def test_sandbox_applies_its_options() -> None:
    """It prints its URL and ends with exit code 0."""
    async with program(
        "sandbox",
        *("--listen", "127.0.0.1:0", "--lifetime", "7", "--base-path", "/bank"),
        *("--settings", '{"institutions": ["00016", "00099"], "quota": 5}'),
        *("--fault", '{"where": "token", "code": "CMN_90002", "times": 1}'),
        *("--fault", '{"where": "resource", "status": 503}'),
    ) as it:
        line = await it.wait_for_output("its base URL is")
        assert "sandbox-client" in await it.wait_for_output("00099")
        base_url = line.split()[-1]
        assert base_url.endswith("/bank")
        state = json.loads((await get(base_url + "/_sandbox/"))[1])
        assert (state["settings"]["lifetime"], state["settings"]["quota"]) == (7, 5)
        assert [fault["where"] for fault in state["faults"]] == ["token", "resource"]
        assert await it.end(SIGTERM) == 0
    assert it.err == []


async def test_port_in_use_exits_with_2() -> None:
    """One line says what to do."""
    with taken_port() as taken:
        code, _, err = await run_program("sandbox", "--listen", taken)
    assert code == 2
    (line,) = err.splitlines()
    assert line.startswith(f"candescent-proxy: listen: cannot listen on {taken} (")


async def test_proxy_in_front_of_the_sandbox() -> None:
    """With the printed credentials."""
    async with program("sandbox", "--listen", "127.0.0.1:0") as bank:
        base_url = (await bank.wait_for_output("its base URL is")).split()[-1]
        async with program("run", *ANYWHERE, "--base-url", base_url, **CREDENTIALS) as it:
            await it.wait_for_event("token refreshed")
            assert (await get(await address(it, "listen") + "/v1/accounts"))[0] == 200
            assert await it.end(SIGINT) == 0
        assert await bank.end(SIGINT) == 0
