"""``init``: on a terminal with a person, and from a script; tried at a real bank each time."""

from pathlib import Path

import pytest

from proxy.config import loader
from proxy.sandbox import Fault, Sandbox
from tests.cli.commands.inside import Inside
from tests.cli.commands.operator import variables
from tests.support.program import ANYWHERE, program, run_program
from tests.support.terminal import terminal

FILES = {".gitignore", "client-id", "client-secret", "proxy.yaml"}


async def test_person_on_a_terminal(bank: Sandbox, tmp_path: Path) -> None:
    """From a bare folder: a few questions, keys that are not shown, and it is written."""
    async with terminal("init", cwd=tmp_path) as screen:
        await screen.answers("Environment: stage, production, or a URL [stage]: ", bank.url)
        await screen.answers("Shared Key (not shown): ", "sandbox-client")
        await screen.answers("Secret Key (not shown): ", "sandbox-secret")
        await screen.answers("Institution, with its leading zeros: ", "00016")
        await screen.answers("Are there V1 calls too, under /fis/? [y/N] ", "y")
        await screen.sees("v1:00016: the bank issued a token")
        await screen.sees(" run --config candescent-proxy/proxy.yaml")
        assert await screen.ends() == 0
        assert "sandbox-secret" not in screen.shown
        assert "sandbox-client" not in screen.shown
    config = loader.load(tmp_path / "candescent-proxy" / "proxy.yaml", {}, {})
    assert (config.base_url, config.institution_id) == (bank.url, "00016")
    assert config.token.prefetch == ("v2", "v1")


async def test_person_who_mistypes(bank: Sandbox, tmp_path: Path) -> None:
    """What cannot be is asked again; keys that the bank refuses may be typed anew."""
    async with terminal("init", "mine", "--base-url", bank.url, cwd=tmp_path) as screen:
        await screen.answers("Shared Key (not shown): ", "")
        await screen.sees("Shared Key: is empty")
        await screen.answers("Shared Key (not shown): ", "sandbox-client")
        await screen.answers("Secret Key (not shown): ", "sandbox-sceret")
        await screen.answers("Institution", "seven")
        await screen.sees("digits with leading zeros")
        await screen.answers("Institution", "00016")
        await screen.answers("V1", "")
        await screen.sees("the bank refused the client id and secret (401, CMN_90004")
        await screen.sees("Fix: ")
        await screen.answers("Try other keys? [Y/n] ", "")
        assert not (tmp_path / "mine").exists()
        await screen.answers("Shared Key (not shown): ", "sandbox-client")
        await screen.answers("Secret Key (not shown): ", "sandbox-secret")
        await screen.answers("Institution [00016]: ", "")
        await screen.sees("Next:")
        assert await screen.ends() == 0
        assert "sandbox-sceret" not in screen.shown
    assert {path.name for path in (tmp_path / "mine").iterdir()} == FILES


async def test_bank_that_is_not_reached(tmp_path: Path) -> None:
    """Other keys would not help, so nobody is asked for them."""
    where = ("--base-url", "http://127.0.0.1:9", "--institution", "00016")
    keys = {"CANDESCENT_CLIENT_ID": "key", "CANDESCENT_CLIENT_SECRET": "word"}
    async with terminal("init", *where, cwd=tmp_path, **keys) as screen:
        await screen.answers("V1", "")
        await screen.sees("127.0.0.1:9 refuses connections.")
        await screen.sees("nothing was written")
        assert await screen.ends() == 1


@pytest.mark.parametrize(("key", "code"), [("\x03", 130), ("\x04", 1)], ids=["ctrl-c", "ctrl-d"])
async def test_person_who_leaves(tmp_path: Path, key: str, code: int) -> None:
    """Nothing is written, and there is no traceback."""
    async with terminal("init", cwd=tmp_path) as screen:
        await screen.answers("Environment", "stage")
        await screen.sees("Shared Key (not shown): ")
        screen.types(key)
        assert await screen.ends() == code
        assert "Traceback" not in screen.text
    assert not (tmp_path / "candescent-proxy").exists()


async def test_script_by_files_and_flags(bank: Sandbox, tmp_path: Path, inside: Inside) -> None:
    """Nothing is asked; the proxy runs with what is written."""
    (tmp_path / "key").write_text("sandbox-client\n")
    folder = tmp_path / "made"
    code, out, err = await inside.run(
        *("init", folder, "--base-url", bank.url, "--institution", "00016", *ANYWHERE),
        *("--client-id-file", tmp_path / "key"),
        CANDESCENT_CLIENT_SECRET="sandbox-secret",
    )
    assert (code, err) == (0, "")
    assert f" run --config {folder}/proxy.yaml" in out
    assert "sandbox-secret" not in out
    async with program("run", "--config", folder / "proxy.yaml") as running:
        await running.wait_for_event("token refreshed")
    settled = ("--config", folder / "proxy.yaml")
    code, out, _ = await inside.run("doctor", *settled, CANDESCENT_CLIENT_SECRET="")
    assert (code, out.splitlines()[-1]) == (0, "No problems found.")


async def test_script_by_standard_input(bank: Sandbox, tmp_path: Path) -> None:
    """Both keys come as lines, so that they stand in no file and no variable."""
    code, _, err = await run_program(
        *("init", tmp_path / "made", "--base-url", bank.url, "--institution", "00016"),
        *("--client-id-file", "-", "--client-secret-file", "-"),
        stdin="sandbox-client\nsandbox-secret\n",
    )
    assert (code, err) == (0, "")
    assert (tmp_path / "made" / "client-secret").read_text() == "sandbox-secret\n"


async def test_script_by_variables_alone(bank: Sandbox, tmp_path: Path, inside: Inside) -> None:
    """Those of the vendor's SDK are enough."""
    code, _, err = await inside.run("init", tmp_path / "made", **variables(bank))
    assert (code, err) == (0, "")


async def test_script_that_says_too_little(tmp_path: Path) -> None:
    """All that is missing is told at once, and how to give it."""
    code, out, err = await run_program("init", tmp_path / "made")
    assert (code, out) == (2, "")
    assert err.splitlines() == [
        "candescent-proxy: environment: give --environment or --base-url",
        "candescent-proxy: client_id: give --client-id-file or CANDESCENT_CLIENT_ID",
        "candescent-proxy: client_secret: give --client-secret-file or CANDESCENT_CLIENT_SECRET",
        "candescent-proxy: institution_id: give --institution or CANDESCENT_INSTITUTION_ID",
    ]
    assert not (tmp_path / "made").exists()


async def test_bank_that_gives_no_token(bank: Sandbox, tmp_path: Path, inside: Inside) -> None:
    """Nothing is written, and the cause is told; ``--no-trial`` writes without asking."""
    bank.bank.faults.append(Fault("token", status=503))
    folder = tmp_path / "made"
    code, out, err = await inside.run("init", folder, **variables(bank))
    assert code == 1
    assert "token endpoint is failing" in out
    assert "nothing was written" in err
    assert not folder.exists()
    asked = len(bank.bank.token_requests)
    assert (await inside.run("init", folder, "--no-trial"))[0] == 0
    assert len(bank.bank.token_requests) == asked


async def test_what_is_there_is_not_lost(bank: Sandbox, tmp_path: Path, inside: Inside) -> None:
    """Without ``--force`` nothing changes; with it, the old files stand beside the new ones."""
    (tmp_path / "proxy.yaml").write_text("mine: 1\n")
    code, _, err = await inside.run("init", tmp_path, **variables(bank))
    assert code == 2
    assert "exists already; --force" in err
    assert (tmp_path / "proxy.yaml").read_text() == "mine: 1\n"
    code, out, _ = await inside.run("init", tmp_path, "--force")
    assert code == 0
    assert f"{tmp_path}/proxy.yaml.1" in out
    assert (tmp_path / "proxy.yaml.1").read_text() == "mine: 1\n"


async def test_folder_that_cannot_be_written(bank: Sandbox, tmp_path: Path, inside: Inside) -> None:
    """It is told with its name, exit code 1."""
    (tmp_path / "file").write_text("")
    code, _, err = await inside.run("init", tmp_path / "file" / "made", **variables(bank))
    assert code == 1
    assert "cannot be written (" in err


async def test_sandbox_needs_no_answers(tmp_path: Path, inside: Inside) -> None:
    """What is written is for the sandbox as it starts by itself."""
    code, out, _ = await inside.run("init", tmp_path / "made", "--sandbox", "--no-trial")
    assert code == 0
    assert " sandbox  " in out
    config = loader.load(tmp_path / "made" / "proxy.yaml", {}, {})
    assert config.base_url == "http://127.0.0.1:8081"


async def test_company_proxy_and_its_authority(tmp_path: Path, inside: Inside) -> None:
    """What the way out needs is written too, with a path that is good from everywhere."""
    inside.monkeypatch.chdir(tmp_path)
    code, _, _ = await inside.run(
        *("init", tmp_path / "made", "--sandbox", "--no-trial"),
        *("--proxy", "http://127.0.0.1:3128", "--ca-file", "company.pem"),
    )
    assert code == 0
    config = loader.load(tmp_path / "made" / "proxy.yaml", {}, {})
    assert config.upstream.proxy == "http://127.0.0.1:3128"
    assert config.upstream.ca_file == tmp_path / "company.pem"


async def test_no_secret_is_a_flag(inside: Inside) -> None:
    """Everybody on the machine can list the arguments of a program."""
    code, _, err = await inside.run("init", "--client-secret", "sandbox-secret")
    assert code == 2
    assert "unrecognized arguments: --client-secret" in err
