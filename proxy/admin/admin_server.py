"""The admin port: /livez, /readyz, /metrics, and the status page."""

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, nullcontext
from dataclasses import dataclass

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from proxy.admin.readiness import Readiness
from proxy.admin.status_page import StatusPage
from proxy.errors import CallerError
from proxy.forwarding.browser_policy import BrowserPolicy
from proxy.server.address import Address
from proxy.server.port import cannot_listen, for_owner_only

_NO_STORE = {"Cache-Control": "no-store"}


@dataclass(frozen=True, slots=True)
class Actions:
    """What may be asked of a running proxy, where that is allowed at all."""

    reload: Callable[[], Awaitable[bool]]
    quit: Callable[[], None]

    def routes(self) -> list[web.RouteDef]:
        """Return ``POST /-/reload`` and ``POST /quitquitquit``."""
        return [web.post("/-/reload", self._reload), web.post("/quitquitquit", self._quit)]

    async def _reload(self, _request: web.Request) -> web.Response:
        success = await self.reload()
        document = {"status": "success" if success else "failure; /readyz says why"}
        return web.json_response(document, status=200 if success else 409, headers=_NO_STORE)

    async def _quit(self, _request: web.Request) -> web.Response:
        self.quit()
        return web.json_response({"status": "stopping"}, headers=_NO_STORE)


def browser_guard(policy: BrowserPolicy) -> Middleware:
    """Return what refuses requests of web pages (403): a browser lets any page send them here.

    A link to the status page may be followed from elsewhere.
    """

    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        host, origins = request.headers.get("Host", ""), request.headers.getall("Origin", [])
        site = request.headers.get("Sec-Fetch-Site", "")
        try:
            policy.check_host(_bytes(host))
            if origins or (site and not _follows_link(request)):
                policy.check_page(_bytes(host), [*map(_bytes, origins)], _bytes(site))
        except CallerError as error:
            text = f"{error.detail} {error.kind.remedy}\n"
            return web.Response(status=error.kind.status, text=text, headers=_NO_STORE)
        return await handler(request)

    return guard


def _follows_link(request: web.Request) -> bool:
    kind = (request.headers.get("Sec-Fetch-Mode"), request.headers.get("Sec-Fetch-Dest"))
    return request.method == "GET" and request.path == "/" and kind == ("navigate", "document")


def _bytes(value: str) -> bytes:
    return value.encode("utf-8", "surrogateescape")


def build(
    readiness: Callable[[], Readiness],
    exposition: Callable[[str], tuple[bytes, str]],
    actions: Actions | None = None,
    page: StatusPage | None = None,
    policy: BrowserPolicy | None = None,
) -> web.Application:
    """Return the admin application.

    ``/livez`` answers 200 as long as the event loop turns; ``/readyz`` 200 or 503 with the
    reasons; ``/metrics`` in the Prometheus or the OpenMetrics format, as asked. ``actions`` are
    there only where an operator allowed them, ``page`` where there is one. ``policy`` says by which
    names the port may be called; None on a Unix socket, which no web page reaches.
    """

    async def livez(_request: web.Request) -> web.Response:
        return web.json_response({"status": "alive"}, headers=_NO_STORE)

    async def readyz(_request: web.Request) -> web.Response:
        state = readiness()
        document = {
            "status": "ready" if state.is_ready else "not ready",
            "reasons": state.reasons,
            "warnings": state.warnings,
        }
        return web.json_response(document, status=200 if state.is_ready else 503, headers=_NO_STORE)

    async def metrics(request: web.Request) -> web.Response:
        body, content_type = exposition(request.headers.get("Accept", ""))
        return web.Response(body=body, headers={**_NO_STORE, "Content-Type": content_type})

    app = web.Application(middlewares=[] if policy is None else [browser_guard(policy)])
    app.add_routes(
        [web.get("/livez", livez), web.get("/readyz", readyz), web.get("/metrics", metrics)]
    )
    if actions is not None:
        app.add_routes(actions.routes())
    if page is not None:
        app.add_routes(page.routes())
    return app


async def serve(application: web.Application, address: Address, stack: AsyncExitStack) -> Address:
    """Serve on ``address`` until ``stack`` is closed; return where (port 0 is allowed).

    Raises ``ConfigError`` for a port in use, and then leaves nothing open.
    """
    runner = web.AppRunner(application, access_log=None, handle_signals=False, shutdown_timeout=1)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    site = (
        web.UnixSite(runner, address.path)
        if address.path
        else web.TCPSite(runner, address.host, address.port)
    )
    guard = for_owner_only(address.path, 0o600) if address.path else nullcontext()
    try:
        with guard:
            await site.start()
    except (OSError, NotImplementedError) as error:
        await stack.aclose()
        raise cannot_listen("admin", address, error) from error
    if address.path:
        return address
    host, port = runner.addresses[0][:2]
    return Address(host=host, port=port)
