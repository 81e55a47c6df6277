"""The command line as a process: output and exit codes."""

import asyncio
import re
import shlex
import sys

import pytest

from proxy.cli import main
from tests.support.program import CREDENTIALS, ROOT, environment, run_program

LOCAL = {**CREDENTIALS, "CANDESCENT_BASE_URL": "http://127.0.0.1:9"}


async def test_missing_settings_are_explained() -> None:
    """``init`` and the four required settings are named."""
    code, out, err = await run_program("run")
    assert (code, out) == (2, "")
    first, *rest = err.splitlines()
    assert "candescent-proxy init" in first
    assert [line.split(": ")[1] for line in rest] == [
        "institution_id",
        "environment",
        "client_id",
        "client_secret",
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "find what is wrong with an installation"),
        (("fly",), "fly: no such command\n"),
        (("rnu",), "rnu: no such command; did you mean run?"),
        (("help", "rnu"), "rnu: no such command; did you mean run?"),
        (("version",), "version: no such command; did you mean --version?"),
        (("--verison",), "--verison: no such flag; did you mean --version?"),
        (
            ("--config", "x.yaml", "run"),
            "--config: flags follow the command: candescent-proxy run --config …",
        ),
        (("run", "--fast"), "candescent-proxy run: --fast: no such flag\n"),
        (("run", "--confg=x.yaml"), "--confg: no such flag; did you mean --config?"),
        (("run", "proxy.yaml"), "proxy.yaml: unexpected argument"),
        (("run", "--config"), "--config: expected one argument"),
        (("run", "--config", "/nowhere.yaml"), "/nowhere.yaml: cannot be read"),
        (("run", "--listen", "desk"), "listen: expected HOST:PORT"),
        (("run", "--listen", "0.0.0.0:8080"), "other machines can reach 0.0.0.0:8080"),
        (("check-config", "--base-url", "http://bänk.example"), "base_url: expected ASCII"),
        (("sandbox", "--listen", "desk"), "--listen: expected HOST:PORT"),
        (("sandbox", "--lifetime", "-1"), "lifetime: expected seconds"),
        (
            ("sandbox", "--lifetime", "long"),
            'expected a duration, such as 5s, 500ms or 2m; got "long"',
        ),
        (("sandbox", "--settings", "{"), "not JSON"),
        (("sandbox", "--settings", "[1]"), "expected a JSON object"),
        (("sandbox", "--settings", '{"quoat": 1}'), "quoat: no such setting"),
        (("sandbox", "--fault", "3"), "expected a JSON object"),
        (("sandbox", "--fault", '{"where": "moon"}'), "where: expected one of"),
        (("healthcheck", "--admin", "nowhere"), "admin: expected HOST:PORT"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_wrong_arguments_exit_with_2(
    arguments: tuple[str, ...],
    message: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With what was meant; without a command, with all of them."""
    for name, text in LOCAL.items():
        monkeypatch.setenv(name, text)
    with pytest.raises(SystemExit) as caught:
        main.main(arguments)
    assert caught.value.code == 2
    assert message in capsys.readouterr().err


def help_of(*arguments: str, capsys: pytest.CaptureFixture[str]) -> str:
    """Return the help of a command."""
    with pytest.raises(SystemExit) as caught:
        main.main([*arguments, "--help"])
    assert caught.value.code == 0
    return capsys.readouterr().out


def test_help_is_complete(capsys: pytest.CaptureFixture[str]) -> None:
    """All commands and a minimal example; ``help`` is the same."""
    text = help_of(capsys=capsys)
    for command in main.COMMANDS:
        assert re.search(rf"^    {command}\b", text, re.MULTILINE)
    assert "CANDESCENT_CLIENT_ID=" in text
    with pytest.raises(SystemExit) as caught:
        main.main(["help"])
    assert (caught.value.code, capsys.readouterr().out) == (0, text)


@pytest.mark.parametrize("command", main.COMMANDS)
def test_help_of_a_command(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What it does, and an example that is valid; the settings that it uses."""
    text = help_of(command, capsys=capsys)
    about, _, _ = text.partition("\n\n")[2].partition("\n\n")
    assert about.endswith(".")
    shown = text.partition("example:\n")[2].replace("\\\n", "")
    for line in re.findall(r"candescent-proxy( [^)&>|\n]*)", shown):
        assert main.parse(shlex.split(line.partition(" <")[0])).parser.prog.endswith(command)
    with pytest.raises(SystemExit):
        main.main(["help", command])
    assert capsys.readouterr().out == text


@pytest.mark.parametrize(
    ("command", "flags"),
    [
        ("run", {"config", "listen", "admin", "base-url", "log-level", "log-format"}),
        ("doctor", {"config", "listen", "admin", "base-url", "json", "call"}),
        ("healthcheck", {"config", "admin", "live"}),
        ("demo", {"once"}),
    ],
)
def test_command_has_its_own_flags_only(
    command: str, flags: set[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Those that it uses."""
    found = re.findall(r"^  --([a-z-]+)", help_of(command, capsys=capsys), re.MULTILINE)
    assert set(found) == flags


@pytest.mark.parametrize(
    ("arguments", "unwanted"),
    [
        (("--version",), {"pydantic", "aiohttp", "asyncio", "structlog"}),
        (("--help",), {"pydantic", "aiohttp", "asyncio", "structlog"}),
        (("healthcheck", "--admin", "127.0.0.1:9"), {"aiohttp", "structlog", "rich", "asyncio"}),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
async def test_commands_import_only_what_they_need(
    arguments: tuple[str, ...], unwanted: set[str]
) -> None:
    """``version`` and probes start fast."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-X", "importtime", "-m", "proxy.cli", *arguments),
        env=environment(),
        cwd=ROOT,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    said = (await process.communicate())[1].decode()
    loaded = {line.rpartition("|")[2].strip() for line in said.splitlines()}
    assert "proxy.cli.main" in loaded
    heavy = {"cryptography", "redis", "shtab", "opentelemetry", "prometheus_client"}
    assert loaded & (heavy | unwanted) == set()


def test_every_command_has_its_module() -> None:
    """And every module its command."""
    named = {name.replace("-", "_") for name in main.COMMANDS}
    found = {path.stem for path in (ROOT / "proxy/cli/commands").glob("*.py")}
    assert found - named == {"__init__", "token_endpoint", "questions", "common"}
    assert named <= found


async def test_closed_pipe_ends_quietly() -> None:
    """``| head`` causes no traceback."""
    command = f"{sys.executable} -m proxy.cli check-config --print-schema | head -n 1"
    process = await asyncio.create_subprocess_shell(
        command,
        env=environment(),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert await process.communicate() == (b"{\n", b"")
