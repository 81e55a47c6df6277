"""Serves the status page and ``/api/status``."""

from collections.abc import Callable
from functools import cache
from importlib import resources

from proxy.admin import explanations
from proxy.admin.document import Status
from proxy.admin.exchange import AdminHandlerFunction, AdminRequest, AdminResponse, AdminRoute
from proxy.admin.page_access import PageAccess

FILES = {
    "/": ("index.html", "text/html"),
    "/page/status.css": ("status.css", "text/css"),
    **{
        f"/page/{name}.js": (f"{name}.js", "text/javascript")
        for name in ("dom", "plot", "plots", "rows", "status", "tokens", "words")
    },
    "/page/icon.svg": ("icon.svg", "image/svg+xml"),
}
POLICY = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}


class StatusPage:
    """Serves the result of ``status`` to clients that ``access`` allows.

    With ``access`` None there is no page, and requests get a 404 that says so.
    """

    def __init__(self, status: Callable[[], Status], access: PageAccess | None) -> None:
        self._status = status
        self._access = access

    def routes(self) -> list[AdminRoute]:
        """Return the routes of ``/``, the page's files, ``/errors`` and ``/api/status``."""
        files = [AdminRoute("GET", path, self._guarded(self._file)) for path in FILES]
        return [
            *files,
            AdminRoute("GET", "/errors", self._guarded(self._errors)),
            AdminRoute("GET", "/api/status", self._guarded(self._document)),
        ]

    def _guarded(self, handler: AdminHandlerFunction) -> AdminHandlerFunction:
        async def guarded(request: AdminRequest) -> AdminResponse:
            if self._access is None:
                return _refused(404, "There is no status page: status_page is off.")
            why = self._access.refusal(request.peer, {name for name, _ in request.headers})
            return _refused(403, why) if why else await handler(request)

        return guarded

    async def _file(self, request: AdminRequest) -> AdminResponse:
        name, content_type = FILES[request.path]
        return AdminResponse(200, _read(name), f"{content_type}; charset=utf-8", POLICY)

    async def _errors(self, _request: AdminRequest) -> AdminResponse:
        return AdminResponse(200, explanations.page(), "text/html; charset=utf-8", POLICY)

    async def _document(self, _request: AdminRequest) -> AdminResponse:
        text = self._status().model_dump_json(by_alias=True)
        return AdminResponse(200, text.encode(), "application/json; charset=utf-8", POLICY)


def _refused(status: int, why: str) -> AdminResponse:
    return AdminResponse(status, f"{why}\n".encode(), headers=POLICY)


@cache
def _read(name: str) -> bytes:
    return resources.files("proxy.admin").joinpath("page", name).read_bytes()
