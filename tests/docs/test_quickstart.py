"""docs/quickstart.md: its commands without credentials, typed."""

import asyncio
import re
import sys
from pathlib import Path

from tests.support import needs
from tests.support.pages import ROOT
from tests.support.program import environment
from tests.support.running import DEADLINE

PAGE = (ROOT / "docs/quickstart.md").read_text(encoding="utf-8")
TERMINALS = re.findall(r"^```sh\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)

# A network namespace, because the page names ports; its loopback is down at first.
ALONE = ("unshare", "--map-root-user", "--net", "--kill-child", "--pid", "--fork")
LOOPBACK_UP = """
import fcntl, os, socket, struct, sys
from tests.support.running import DEADLINE
flags = struct.pack("16sh22x", b"lo", 0x41)  # up and running
fcntl.ioctl(socket.socket(socket.AF_INET, socket.SOCK_DGRAM), 0x8914, flags)
os.execvp("sh", ["sh", "-euc", sys.argv[1]])
"""
# A reader checks the first terminal before using the next.
WAIT_FOR_OUTPUT = "until curl --silent http://127.0.0.1:8081/ >sandbox.txt; do sleep 0.1; done"


async def alone(script: str, folder: Path) -> tuple[int, str]:
    """Run a script in a network namespace; return exit code and output."""
    path = f"{Path(sys.executable).parent}:{environment()['PATH']}"
    process = await asyncio.create_subprocess_exec(
        *(*ALONE, sys.executable, "-c", LOOPBACK_UP, script),
        cwd=folder,
        env=environment(PATH=path),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        said, _ = await asyncio.wait_for(process.communicate(), DEADLINE)
    finally:
        if process.returncode is None:
            process.kill()
    return process.returncode or 0, said.decode()


@needs.programs("unshare", "curl")
async def test_without_credentials(tmp_path: Path) -> None:
    """The last of three terminals shows accounts, and the doctor finds no problem."""
    if (await alone("true", tmp_path))[0]:
        needs.skip("no network namespace allowed", "sudo make test")
    sandbox, proxy, person = TERMINALS
    script = f"({sandbox}) &\n{WAIT_FOR_OUTPUT}\n({proxy}) >proxy.txt 2>&1 &\n{person}echo well"
    code, said = await alone(script, tmp_path)
    assert code == 0, said + (tmp_path / "proxy.txt").read_text()
    assert '"name":"Everyday Checking"' in said
    assert said.rstrip().endswith("well")
