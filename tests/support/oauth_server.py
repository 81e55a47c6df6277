"""A strict OAuth 2.0 server (npm's oidc-provider) at the bank's paths, as a process."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.support import needs
from tests.support.running import DEADLINE

SERVER = Path(__file__).with_suffix(".mjs")


@asynccontextmanager
async def oauth_server(*clients: dict[str, Any]) -> AsyncIterator[str]:
    """Start a server for these clients, in oidc-provider's format; yield its URL."""
    needs.program("node")
    needs.npm_package("oidc-provider")
    process = await asyncio.create_subprocess_exec(
        "node",
        str(SERVER),
        json.dumps({"clients": clients}),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        async with asyncio.timeout(DEADLINE):
            port = int(await process.stdout.readline())
        yield f"http://127.0.0.1:{port}"
    finally:
        process.stdin.close()
        await process.wait()
