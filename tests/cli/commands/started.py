"""``candescent-proxy run`` as a process before a bank, and what its ports say."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import aiohttp

from proxy.sandbox import Sandbox
from tests.support.program import ANYWHERE, CREDENTIALS, RunningProgram, program
from tests.support.running import DEADLINE


@contextmanager
def taken_port() -> Iterator[str]:
    """Return an address that somebody else listens on, who never says anything."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        host, port = server.getsockname()
        yield f"{host}:{port}"


@asynccontextmanager
async def proxy(bank: Sandbox, *arguments: str, **variables: str) -> AsyncIterator[RunningProgram]:
    """Run the program before a bank, on free ports."""
    variables = {**CREDENTIALS, "CANDESCENT_BASE_URL": bank.url, **variables}
    async with program("run", *ANYWHERE, *arguments, **variables) as it:
        await it.wait_for_event("listening")
        yield it


async def address(it: RunningProgram, name: str) -> str:
    """Return where the program listens, as it told."""
    return f"http://{(await it.wait_for_event('listening'))[name]}"


async def get(url: str) -> tuple[int, str]:
    """Return status and body of what is there."""
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        return answer.status, await answer.text()


async def ready(it: RunningProgram) -> bool:
    """Ask the program whether it is ready."""
    return (await get(await address(it, "admin") + "/readyz"))[0] == 200


async def until_ready(it: RunningProgram) -> None:
    """Wait until the program says that it is ready."""
    async with asyncio.timeout(DEADLINE):
        while not await ready(it):  # noqa: ASYNC110 - a probe asks again
            await asyncio.sleep(0.05)
