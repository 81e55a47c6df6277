"""The admin port: /livez, /readyz, /metrics."""

from collections.abc import Callable

from aiohttp import web

from proxy.admin.readiness import Readiness

_NO_STORE = {"Cache-Control": "no-store"}


def build(
    readiness: Callable[[], Readiness], exposition: Callable[[str], tuple[bytes, str]]
) -> web.Application:
    """Return the admin application.

    ``/livez`` answers 200 as long as the event loop turns; ``/readyz`` 200 or 503 with the
    reasons; ``/metrics`` in the Prometheus or the OpenMetrics format, as asked.
    """

    async def livez(_request: web.Request) -> web.Response:
        return web.json_response({"status": "alive"}, headers=_NO_STORE)

    async def readyz(_request: web.Request) -> web.Response:
        state = readiness()
        document = {"status": "ready" if state.is_ready else "not ready", "reasons": state.reasons}
        return web.json_response(document, status=200 if state.is_ready else 503, headers=_NO_STORE)

    async def metrics(request: web.Request) -> web.Response:
        body, content_type = exposition(request.headers.get("Accept", ""))
        return web.Response(body=body, headers={**_NO_STORE, "Content-Type": content_type})

    app = web.Application()
    app.add_routes(
        [web.get("/livez", livez), web.get("/readyz", readyz), web.get("/metrics", metrics)]
    )
    return app
