"""Requests to the admin port and their responses, as its handlers use them."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus

from proxy.http1.writer import persistence_line, response_head
from proxy.server.messages import Request, Response

NO_STORE = {"Cache-Control": "no-store"}


@dataclass(frozen=True, slots=True)
class AdminRequest:
    """A request. ``path`` is without the query; header names are in lower case.

    ``peer`` is the client's IP address, empty on a Unix socket. ``is_1_0``: it is HTTP/1.0, which
    needs no ``Host``.
    """

    method: str
    path: str
    peer: str
    headers: tuple[tuple[str, bytes], ...]
    is_1_0: bool = False

    def all(self, name: str) -> list[bytes]:
        """Return the values of all headers of this name, which is in lower case."""
        return [value for header, value in self.headers if header == name]

    def header(self, name: str) -> bytes:
        """Return the value of the first header of this name; empty without one."""
        return next(iter(self.all(name)), b"")


def admin_request(request: Request) -> AdminRequest:
    """Return the admin port's form of a server request."""
    return AdminRequest(
        request.method,
        request.target.partition(b"?")[0].decode("latin-1"),
        request.connection.caller.address,
        tuple((name.lower().decode("latin-1"), value) for name, value in request.headers),
        request.version < (1, 1),
    )


@dataclass(frozen=True, slots=True)
class AdminResponse:
    """A response with its complete body."""

    status: int
    body: bytes = field(repr=False)
    content_type: str = "text/plain; charset=utf-8"
    headers: Mapping[str, str] = field(default_factory=lambda: NO_STORE)

    def encode(self, *, keep_alive: bool, bodiless: bool = False, is_1_0: bool = False) -> Response:
        """Return the response as bytes; ``bodiless`` for HEAD, ``is_1_0`` for HTTP/1.0."""
        lines = [f"{name}: {value}\r\n".encode("latin-1") for name, value in self.headers.items()]
        lines.append(f"Content-Type: {self.content_type}\r\n".encode("latin-1"))
        lines.append(b"Content-Length: %d\r\n" % len(self.body))
        if not keep_alive or is_1_0:
            lines.append(persistence_line(keep_alive=keep_alive))
        head = response_head(self.status, HTTPStatus(self.status).phrase.encode("ascii"), lines)
        return Response(head if bodiless else head + self.body, keep_alive=keep_alive)


AdminHandlerFunction = Callable[[AdminRequest], Awaitable[AdminResponse]]


@dataclass(frozen=True, slots=True)
class AdminRoute:
    """The handler of a method and path; ``GET`` includes ``HEAD``."""

    method: str
    path: str
    handler: AdminHandlerFunction
