"""The admin port: /livez, /readyz, /metrics, and the status page.

It is served by ``proxy.server`` like the data port, with small limits of its own, so that too many
connections to it take neither files nor memory from the data port.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass

from proxy.admin.exchange import NO_STORE, AdminRequest, AdminResponse, AdminRoute, admin_request
from proxy.admin.health import Condition
from proxy.admin.readiness import Readiness, document
from proxy.admin.status_page import StatusPage
from proxy.errors import CallerError, ProxyError, kinds
from proxy.forwarding.browser_policy import BrowserPolicy
from proxy.server.address import Address
from proxy.server.caller import Caller
from proxy.server.limits import CallerLimits
from proxy.server.memory import MemoryBudget
from proxy.server.messages import Request, Response
from proxy.server.port import Port
from proxy.server.refusals import Refusals
from proxy.server.server import Server

LIMITS = CallerLimits(
    header_timeout=10.0,
    keepalive_timeout=75.0,
    idle_timeout=10.0,
    max_head=16_384,
    max_connections=64,
)
"""The limits of the admin port. Monitoring systems and browsers need a few connections each."""


@dataclass(frozen=True, slots=True)
class Actions:
    """Actions on a running proxy, if ``admin_actions`` permits them."""

    reload: Callable[[], Awaitable[bool]]
    quit: Callable[[], None]

    def routes(self) -> list[AdminRoute]:
        """Return ``POST /-/reload`` and ``POST /quitquitquit``."""
        return [
            AdminRoute("POST", "/-/reload", self._reload),
            AdminRoute("POST", "/quitquitquit", self._quit),
        ]

    async def _reload(self, _request: AdminRequest) -> AdminResponse:
        success = await self.reload()
        document = {"status": "success" if success else "failure; /readyz says why"}
        return _json(document, 200 if success else 409)

    async def _quit(self, _request: AdminRequest) -> AdminResponse:
        self.quit()
        return _json({"status": "stopping"})


class AdminHandler:
    """Handles the requests of the admin port.

    ``policy`` checks ``Host`` and ``Origin`` and refuses web pages of other sites (403); it is None
    on a Unix socket, which web pages cannot reach. ``on_crash`` gets unexpected exceptions.
    """

    def __init__(
        self,
        routes: Sequence[AdminRoute],
        policy: BrowserPolicy | None = None,
        on_crash: Callable[[BaseException], None] = lambda _error: None,
    ) -> None:
        self._routes: dict[str, dict[str, AdminRoute]] = {}
        for route in routes:
            self._routes.setdefault(route.path, {})[route.method] = route
        self._policy = policy
        self._on_crash = on_crash

    async def handle(self, request: Request) -> Response:
        """Return the response to a request; exceptions of a handler become a 500."""
        response = await self._dispatch(admin_request(request))
        return response.encode(
            bodiless=request.method == "HEAD",
            keep_alive=request.keep_alive and request.body.complete,
            is_1_0=request.version < (1, 1),
        )

    def refuse(self, error: ProxyError, _caller: Caller) -> Response:
        """Return the response to input that is not a valid request."""
        return _refusal(error).encode(keep_alive=False)

    async def _dispatch(self, request: AdminRequest) -> AdminResponse:
        try:
            if self._policy is not None:
                _check_browser(self._policy, request)
        except CallerError as error:
            return _refusal(error)
        methods = self._routes.get(request.path)
        if methods is None:
            return AdminResponse(404, b"404: Not Found\n")
        route = methods.get("GET" if request.method == "HEAD" else request.method)
        if route is None:
            allowed = ", ".join(methods)
            return AdminResponse(
                405, b"405: Method Not Allowed\n", headers={**NO_STORE, "Allow": allowed}
            )
        try:
            return await route.handler(request)
        except Exception as error:  # noqa: BLE001 - a defect must not leave clients unanswered
            self._on_crash(error)
            return AdminResponse(500, b"500: Internal Server Error\n")


def _check_browser(policy: BrowserPolicy, request: AdminRequest) -> None:
    """Raise ``CallerError`` for a web page; a link to the status page may be followed."""
    host, site = request.header("host"), request.header("sec-fetch-site")
    hosts = len(request.all("host"))
    if hosts > 1 or (not hosts and not request.is_1_0):
        raise CallerError(kinds.BAD_HOST)
    if hosts:  # browsers always send one; HAProxy's health checks are HTTP/1.0 without
        policy.check_host(host)
    origins = request.all("origin")
    if origins or (site and not _follows_link(request)):
        policy.check_page(host, origins, site)


def _follows_link(request: AdminRequest) -> bool:
    kind = (request.header("sec-fetch-mode"), request.header("sec-fetch-dest"))
    return request.method == "GET" and request.path == "/" and kind == (b"navigate", b"document")


def _refusal(error: ProxyError) -> AdminResponse:
    return AdminResponse(error.kind.status, f"{error.detail} {error.kind.remedy}\n".encode())


def _json(document: Mapping[str, object], status: int = 200) -> AdminResponse:
    return AdminResponse(status, json.dumps(document).encode(), "application/json; charset=utf-8")


def routes(
    readiness: Callable[[], Readiness],
    conditions: Callable[[], Sequence[Condition]],
    families: Callable[[str], tuple[Iterable[bytes], str]],
    actions: Actions | None = None,
    page: StatusPage | None = None,
    addresses: Callable[[], Iterable[Address]] = tuple,
) -> list[AdminRoute]:
    """Return the routes of the admin port.

    ``/livez`` responds 200 as long as the event loop runs, with the listeners' ``addresses``;
    ``/readyz`` 200 or 503 with the reasons and the ``conditions`` of the health, the worst first;
    ``/metrics`` in Prometheus or OpenMetrics format by ``Accept``. ``actions`` is None unless the
    configuration permits them.
    """

    async def livez(_request: AdminRequest) -> AdminResponse:
        return _json({"status": "alive", "listeners": [*map(str, addresses())]})

    async def readyz(_request: AdminRequest) -> AdminResponse:
        state = readiness()
        return _json(document(state, conditions()), 200 if state.is_ready else 503)

    async def metrics(request: AdminRequest) -> AdminResponse:
        parts, content_type = families(request.header("accept").decode("latin-1"))
        text = []
        for family in parts:
            text.append(family)
            await asyncio.sleep(0)  # requests are served between two families
        return AdminResponse(200, b"".join(text), content_type)

    found = [
        AdminRoute("GET", "/livez", livez),
        AdminRoute("GET", "/readyz", readyz),
        AdminRoute("GET", "/metrics", metrics),
    ]
    if actions is not None:
        found += actions.routes()
    if page is not None:
        found += page.routes()
    return found


async def serve(
    handler: AdminHandler,
    address: Address,
    refusals: Refusals,
    memory: MemoryBudget,
    stack: AsyncExitStack,
) -> Address:
    """Serve on ``address`` until ``stack`` is closed; return the address (port 0 is allowed).

    Raises ``ConfigError`` for a port in use, and then leaves nothing open.
    """
    server = Server(handler.handle, handler.refuse, LIMITS, refusals, memory)
    port = Port(server, address, setting="admin", refusals=refusals)
    where = await port.open(None, 0o600)
    stack.push_async_callback(server.abort)
    stack.callback(port.close)
    return where
