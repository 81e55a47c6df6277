"""``doctor`` as a program: text, JSON and exit codes."""

import json

from proxy.sandbox import Fault, Sandbox
from tests.cli.commands.inside import Inside
from tests.cli.commands.operator import variables

ANYWHERE = ("--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0")


async def test_working_setup_exits_with_0(bank: Sandbox, inside: Inside) -> None:
    """A line per check, and a summary."""
    code, out, err = await inside.run("doctor", *ANYWHERE, **variables(bank))
    assert (code, err) == (0, "")
    *lines, last = out.splitlines()
    assert last == "No problems found."
    assert all(line.startswith("ok ") for line in lines)


async def test_failure_exits_with_1(bank: Sandbox, inside: Inside) -> None:
    """With cause and remedy, without traceback or secret."""
    bank.bank.faults.append(Fault("token", code="CMN_90004"))
    code, out, err = await inside.run("doctor", *ANYWHERE, **variables(bank))
    assert (code, err) == (1, "")
    assert "failed   token" in out
    assert "Fix: Compare client_id and client_secret with Shared Key" in out
    assert out.splitlines()[-1] == "1 failed"
    assert "sandbox-secret" not in out


async def test_warning_exits_with_0(bank: Sandbox, inside: Inside) -> None:
    """The proxy can work."""
    call = ("--call", "/v1/no-such-thing")
    code, out, _ = await inside.run("doctor", *ANYWHERE, *call, **variables(bank))
    assert (code, out.splitlines()[-1]) == (0, "1 warning")


async def test_json_output(bank: Sandbox, inside: Inside) -> None:
    """One document, also after a failure."""
    code, out, _ = await inside.run("doctor", "--json", *ANYWHERE, **variables(bank))
    assert (code, json.loads(out)["ok"]) == (0, True)
    code, out, _ = await inside.run("doctor", "--json", CANDESCENT_BASE_URL="http://127.0.0.1:9")
    document = json.loads(out)
    assert (code, document["ok"]) == (1, False)
    assert "upstream-connect" in {finding["cause"] for finding in document["results"]}


async def test_missing_configuration_is_explained(inside: Inside) -> None:
    """It lists the required settings and how to write them."""
    code, out, _ = await inside.run("doctor")
    assert code == 1
    assert out.count("failed   configuration") == 5
    assert "skipped  bank" in out
