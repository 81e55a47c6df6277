"""``init``: on a terminal and from scripts, with a real bank."""

from pathlib import Path

import pytest

from proxy.config import loader
from proxy.sandbox import Fault, Sandbox
from tests.cli.commands.inside import Inside
from tests.cli.commands.operator import variables
from tests.support.program import ANYWHERE, program, run_program
from tests.support.terminal import terminal

FILES = {".gitignore", "client-id", "client-secret", "proxy.yaml"}


async def test_dialogue_writes_a_configuration(bank: Sandbox, tmp_path: Path) -> None:
    """A few questions, hidden secrets, and the files."""
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


async def test_invalid_input_is_asked_again(bank: Sandbox, tmp_path: Path) -> None:
    """Refused credentials may be typed again."""
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


async def test_unreachable_bank_ends_the_dialogue(tmp_path: Path) -> None:
    """Other credentials would not help."""
    where = ("--base-url", "http://127.0.0.1:9", "--institution", "00016")
    keys = {"CANDESCENT_CLIENT_ID": "key", "CANDESCENT_CLIENT_SECRET": "word"}
    async with terminal("init", *where, cwd=tmp_path, **keys) as screen:
        await screen.answers("V1", "")
        await screen.sees("127.0.0.1:9 refuses connections.")
        await screen.sees("nothing was written")
        assert await screen.ends() == 1


@pytest.mark.parametrize(("key", "code"), [("\x03", 130), ("\x04", 1)], ids=["ctrl-c", "ctrl-d"])
async def test_cancelled_dialogue_writes_nothing(tmp_path: Path, key: str, code: int) -> None:
    """There is no traceback."""
    async with terminal("init", cwd=tmp_path) as screen:
        await screen.answers("Environment", "stage")
        await screen.sees("Shared Key (not shown): ")
        screen.types(key)
        assert await screen.ends() == code
        assert "Traceback" not in screen.text
    assert not (tmp_path / "candescent-proxy").exists()


async def test_script_with_files_and_flags(bank: Sandbox, tmp_path: Path, inside: Inside) -> None:
    """Nothing is asked, and the proxy runs with the result."""
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


async def test_script_with_standard_input(bank: Sandbox, tmp_path: Path) -> None:
    """Both secrets are lines, so they are in no file or variable."""
    code, _, err = await run_program(
        *("init", tmp_path / "made", "--base-url", bank.url, "--institution", "00016"),
        *("--client-id-file", "-", "--client-secret-file", "-"),
        stdin="sandbox-client\nsandbox-secret\n",
    )
    assert (code, err) == (0, "")
    assert (tmp_path / "made" / "client-secret").read_text() == "sandbox-secret\n"


async def test_script_with_variables(bank: Sandbox, tmp_path: Path, inside: Inside) -> None:
    """Those of the vendor's SDK suffice."""
    code, _, err = await inside.run("init", tmp_path / "made", **variables(bank))
    assert (code, err) == (0, "")


async def test_script_without_inputs_lists_them(tmp_path: Path) -> None:
    """All at once, with how to give them."""
    code, out, err = await run_program("init", tmp_path / "made")
    assert (code, out) == (2, "")
    assert err.splitlines() == [
        "candescent-proxy: environment: give --environment or --base-url",
        "candescent-proxy: client_id: give --client-id-file or CANDESCENT_CLIENT_ID",
        "candescent-proxy: client_secret: give --client-secret-file or CANDESCENT_CLIENT_SECRET",
        "candescent-proxy: institution_id: give --institution or CANDESCENT_INSTITUTION_ID",
    ]
    assert not (tmp_path / "made").exists()


async def test_refused_credentials_write_nothing(
    bank: Sandbox, tmp_path: Path, inside: Inside
) -> None:
    """The cause is printed; ``--no-trial`` skips the check."""
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


async def test_existing_files_are_kept(bank: Sandbox, tmp_path: Path, inside: Inside) -> None:
    """``--force`` backs them up."""
    (tmp_path / "proxy.yaml").write_text("mine: 1\n")
    code, _, err = await inside.run("init", tmp_path, **variables(bank))
    assert code == 2
    assert "exists already; --force" in err
    assert (tmp_path / "proxy.yaml").read_text() == "mine: 1\n"
    code, out, _ = await inside.run("init", tmp_path, "--force")
    assert code == 0
    assert f"{tmp_path}/proxy.yaml.1" in out
    assert (tmp_path / "proxy.yaml.1").read_text() == "mine: 1\n"


async def test_unwritable_folder_exits_with_1(
    bank: Sandbox, tmp_path: Path, inside: Inside
) -> None:
    """The error names it."""
    (tmp_path / "file").write_text("")
    code, _, err = await inside.run("init", tmp_path / "file" / "made", **variables(bank))
    assert code == 1
    assert "cannot be written (" in err


async def test_sandbox_needs_no_inputs(tmp_path: Path, inside: Inside) -> None:
    """The result is for the default sandbox."""
    code, out, _ = await inside.run("init", tmp_path / "made", "--sandbox", "--no-trial")
    assert code == 0
    assert " sandbox  " in out
    config = loader.load(tmp_path / "made" / "proxy.yaml", {}, {})
    assert config.base_url == "http://127.0.0.1:8081"


async def test_outbound_proxy_and_authority_are_written(tmp_path: Path, inside: Inside) -> None:
    """With an absolute path."""
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
    """Arguments are visible to all users of the machine."""
    code, _, err = await inside.run("init", "--client-secret", "sandbox-secret")
    assert code == 2
    assert "--client-secret: no such flag; did you mean --client-secret-file?" in err
