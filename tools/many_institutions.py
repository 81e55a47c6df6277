"""Measures a proxy that serves a thousand institutions: ``make institutions``.

::

    python -m tools.many_institutions                    measure, and print the table
    python -m tools.many_institutions --write            and put it into bench/README.md
    python -m tools.many_institutions --institutions 50 --seconds 2

The proxy runs as a process in front of a sandbox bank in another process, over TLS, so that
a refresh has its real cost. Memory and CPU are those of the proxy's process in /proc.
"""

import argparse
import asyncio
import os
import ssl
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import yaml

from proxy.sandbox import Sandbox, Settings
from tools.machine import machine
from tools.passage import Passage
from tools.repository import ROOT

DOCUMENT = ROOT / "bench" / "README.md"

# The table is between these two lines of the document.
PLACE = Passage("institutions", "measured by `make institutions ARGS=--write`")

WARM_UP = 2000
"""Warm-up requests; fewer with fewer institutions."""

CALLERS = 16
LONG = 3600.0
"""Token lifetime in seconds for measurements without refreshes."""


@dataclass(frozen=True)
class Proxy:
    """The process of a running proxy."""

    pid: int
    folder: Path

    def rss(self) -> int:
        """Resident memory in bytes."""
        pages = Path(f"/proc/{self.pid}/statm").read_text(encoding="ascii").split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")

    def cpu(self) -> float:
        """CPU time so far in seconds."""
        text = Path(f"/proc/{self.pid}/stat").read_text(encoding="ascii")
        user, system = text.rpartition(")")[2].split()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")

    async def visit(self, paths: Sequence[str], institutions: Sequence[str]) -> None:
        """Send a request for each institution to each path, concurrently."""
        connector = aiohttp.UnixConnector(str(self.folder / "proxy"), limit=CALLERS)
        async with aiohttp.ClientSession("http://proxy", connector=connector) as session:

            async def call(path: str, institution: str) -> None:
                headers = {"institutionId": institution}
                async with session.get(path.format(institution), headers=headers) as answer:
                    answer.raise_for_status()
                    await answer.read()

            await asyncio.gather(*(call(path, name) for name in institutions for path in paths))

    async def refreshes(self) -> float:
        """Return the number of tokens that the bank has issued."""
        connector = aiohttp.UnixConnector(str(self.folder / "admin"))
        async with (
            aiohttp.ClientSession("http://admin", connector=connector) as session,
            session.get("/metrics") as answer,
        ):
            lines = (await answer.text()).splitlines()
        counters = [line for line in lines if line.startswith("candescent_proxy_token_refreshes_t")]
        return sum(float(line.rpartition(" ")[2]) for line in counters)


@asynccontextmanager
async def bank(folder: Path, institutions: int, lifetime: float) -> AsyncIterator[str]:
    """Run a sandbox bank in a process, over TLS; yield its base URL."""
    certificate = folder / "bank.pem"
    command = (
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 "
        "-subj /CN=bank -addext subjectAltName=IP:127.0.0.1 "
        f"-keyout {certificate}.key -out {certificate}"
    )
    subprocess.run(command.split(), check=True, capture_output=True)  # noqa: ASYNC221, S603 - ours, and short
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tools.many_institutions", "--bank", str(certificate)),
        *("--institutions", str(institutions), "--lifetime", str(lifetime)),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        yield (await process.stdout.readline()).decode().strip()
    finally:
        process.terminate()
        await process.wait()


async def be_the_bank(certificate: Path, institutions: int, lifetime: float) -> None:
    """Run the sandbox until this process is ended."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, f"{certificate}.key")
    rules = Settings(
        institutions=tuple(names(institutions)), lifetime=lifetime, v1_lifetime=lifetime
    )
    sandbox = Sandbox(rules)
    await sandbox.start(ssl_context=tls)
    print(sandbox.url, flush=True)
    await asyncio.Event().wait()


def names(count: int) -> list[str]:
    """Return the ids of ``count`` institutions."""
    return [f"{number:05d}" for number in range(1, count + 1)]


@asynccontextmanager
async def proxy(folder: Path, url: str, institutions: int) -> AsyncIterator[Proxy]:
    """Run the proxy in a process; yield it ready and warmed up."""
    first, *others = names(institutions)
    configuration = {
        "base_url": url,
        "client_id": "sandbox-client",
        "client_secret_file": str(folder / "secret"),
        "institution_id": first,
        "allowed_institutions": others,
        "listen": f"unix:{folder}/proxy",
        "admin": f"unix:{folder}/admin",
        "upstream": {"ca_file": str(folder / "bank.pem")},
        "log": {"level": "error", "access": "off"},
    }
    (folder / "secret").write_text("sandbox-secret\n", encoding="ascii")
    (folder / "config.yaml").write_text(yaml.safe_dump(configuration), encoding="utf-8")
    program = [sys.executable, "-m", "proxy.cli"]
    file = ["--config", str(folder / "config.yaml")]
    with (folder / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(*program, "run", *file, cwd=ROOT, stderr=log)
    try:
        running = Proxy(process.pid, folder)
        await until_ready(folder)
        await running.visit(["/echo"], [first] * min(WARM_UP, 50 * institutions))
        yield running
    finally:
        process.terminate()
        await process.wait()


async def until_ready(folder: Path, seconds: float = 30.0) -> None:
    """Wait until the proxy has its first token; exit with its output if it gets none."""
    try:
        async with asyncio.timeout(seconds):
            while not await is_ready(folder):  # noqa: ASYNC110 - another process tells nobody
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise SystemExit((folder / "log").read_text(encoding="utf-8")) from None


async def is_ready(folder: Path) -> bool:
    """Whether the proxy is ready."""
    connector = aiohttp.UnixConnector(str(folder / "admin"))
    async with aiohttp.ClientSession("http://admin", connector=connector) as session:
        try:
            async with session.get("/readyz") as answer:
                return answer.status == 200
        except aiohttp.ClientConnectorError:
            return False


async def measure(institutions: int, seconds: float) -> list[tuple[str, str]]:
    """Measure; return the rows of the table."""
    everyone = names(institutions)
    v2, v1 = "/echo", "/subscriptions/v1/fis/{}/echo"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        async with bank(folder, institutions, LONG) as url, proxy(folder, url, institutions) as one:
            alone, quiet = one.rss(), await share(one, seconds)
            await one.visit([v2], everyone)
            with_v2 = one.rss()
            await one.visit([v1], everyone)
            with_both, idle = one.rss(), await share(one, seconds)
        async with (
            bank(folder, institutions, seconds) as url,
            proxy(folder, url, institutions) as one,
        ):
            await one.visit([v2], everyone)
            before, spent = await one.refreshes(), one.cpu()
            await asyncio.sleep(seconds)
            refreshes, spent = await one.refreshes() - before, one.cpu() - spent
    return [
        ("memory with one institution's token", f"{alone / 1e6:.1f} MB"),
        ("memory for each further institution", kilobytes(with_v2 - alone, institutions)),
        ("and for its V1 token beside the V2 token", kilobytes(with_both - with_v2, institutions)),
        ("CPU of a refresh, its TLS handshake included", f"{spent / refreshes * 1e3:.2f} ms"),
        ("CPU while nobody calls, one token", of_a_core(quiet, seconds)),
        (f"CPU while nobody calls, {2 * institutions:,} tokens", of_a_core(idle, seconds)),
    ]


def kilobytes(total: int, count: int) -> str:
    """Return bytes per institution as a cell of the table."""
    return f"{total / count / 1e3:.1f} kB"


def of_a_core(part: float, seconds: float) -> str:
    """Return a share of a core as a cell; zero is an upper bound, because Linux counts in ticks."""
    tick = 1 / os.sysconf("SC_CLK_TCK") / seconds
    return f"{part:.2%} of a core" if part else f"less than {tick:.2%} of a core"


async def share(one: Proxy, seconds: float) -> float:
    """Return the share of a core that the proxy uses without requests."""
    before = one.cpu()
    await asyncio.sleep(seconds)
    return (one.cpu() - before) / seconds


def table(institutions: int, lines: Sequence[tuple[str, str]]) -> str:
    """Return the measurement as a Markdown table."""
    cells = "\n".join(f"| {name} | {value} |" for name, value in lines)
    head = f"{institutions:,} institutions in use, on {machine()}:"
    return f"{head}\n\n| what | measured |\n|---|---|\n{cells}"


def main(arguments: Sequence[str]) -> int:
    """Run the command line; return the exit code."""
    parser = argparse.ArgumentParser(prog="many_institutions", description=__doc__)
    parser.add_argument("--institutions", type=int, default=1000)
    parser.add_argument(
        "--seconds",
        type=float,
        default=20,
        help="of each look at the CPU, and of a token that is renewed under it",
    )
    parser.add_argument("--lifetime", type=float, default=LONG, help=argparse.SUPPRESS)
    parser.add_argument("--bank", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--write", action="store_true", help=f"into {DOCUMENT.name}")
    asked = parser.parse_args(arguments)
    if asked.bank:
        asyncio.run(be_the_bank(asked.bank, asked.institutions, asked.lifetime))
    text = table(asked.institutions, asyncio.run(measure(asked.institutions, asked.seconds)))
    print(text)
    if asked.write:
        PLACE.write(DOCUMENT, text)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
