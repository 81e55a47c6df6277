"""``candescent-proxy run`` as a process in front of a bank, and requests to its ports."""

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
    """Yield an address on which another socket listens, which never responds."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        host, port = server.getsockname()
        yield f"{host}:{port}"


@asynccontextmanager
async def proxy(bank: Sandbox, *arguments: str, **variables: str) -> AsyncIterator[RunningProgram]:
    """Run the program in front of a bank, on free ports."""
    variables = {**CREDENTIALS, "CANDESCENT_BASE_URL": bank.url, **variables}
    async with program("run", *ANYWHERE, *arguments, **variables) as it:
        await it.wait_for_event("listening")
        yield it


async def address(it: RunningProgram, name: str) -> str:
    """Return the address on which the program listens, from its log."""
    return f"http://{(await it.wait_for_event('listening'))[name]}"


async def get(url: str) -> tuple[int, str]:
    """Return status and body of a GET request."""
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        return response.status, await response.text()


async def ready(it: RunningProgram) -> bool:
    """Return whether ``/readyz`` returns 200."""
    return (await get(await address(it, "admin") + "/readyz"))[0] == 200


async def until_ready(it: RunningProgram) -> None:
    """Wait until ``/readyz`` returns 200."""
    async with asyncio.timeout(DEADLINE):
        while not await ready(it):  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.05)
