"""A request to the admin port and its response, as the handlers behind it see them."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus

from proxy.http1.writer import persistence_line, response_head
from proxy.server.messages import Request, Response

NO_STORE = {"Cache-Control": "no-store"}


@dataclass(frozen=True, slots=True)
class AdminRequest:
    """A request. ``path`` is the target's, without its query; names of headers are in lower case.

    ``peer`` is the address that it comes from, empty on a Unix socket.
    """

    method: str
    path: str
    peer: str
    headers: tuple[tuple[str, bytes], ...]

    def all(self, name: str) -> list[bytes]:
        """Return the values of every header of this name."""
        return [value for found, value in self.headers if found == name]

    def header(self, name: str) -> bytes:
        """Return the value of the first header of this name, empty where there is none."""
        return next(iter(self.all(name)), b"")


def admin_request(request: Request) -> AdminRequest:
    """Return a request of the server's in this form."""
    return AdminRequest(
        request.method,
        request.target.partition(b"?")[0].decode("latin-1"),
        request.connection.peer_address(),
        tuple((name.lower().decode("latin-1"), value) for name, value in request.headers),
    )


@dataclass(frozen=True, slots=True)
class AdminResponse:
    """A response with all of its body."""

    status: int
    body: bytes = field(repr=False)
    content_type: str = "text/plain; charset=utf-8"
    headers: Mapping[str, str] = field(default_factory=lambda: NO_STORE)

    def encode(self, *, keep_alive: bool, bodiless: bool = False, is_1_0: bool = False) -> Response:
        """Return it as it is written; ``bodiless`` in answer to HEAD, ``is_1_0`` to HTTP/1.0."""
        lines = [f"{name}: {value}\r\n".encode("latin-1") for name, value in self.headers.items()]
        lines.append(f"Content-Type: {self.content_type}\r\n".encode("latin-1"))
        lines.append(b"Content-Length: %d\r\n" % len(self.body))
        if not keep_alive or is_1_0:
            lines.append(persistence_line(keep_alive=keep_alive))
        head = response_head(self.status, HTTPStatus(self.status).phrase.encode("ascii"), lines)
        return Response(head if bodiless else head + self.body, keep_alive=keep_alive)


AdminHandlerFunction = Callable[[AdminRequest], Awaitable[AdminResponse]]


@dataclass(frozen=True, slots=True)
class Route:
    """What answers a method and path; ``GET`` answers ``HEAD`` too."""

    method: str
    path: str
    handler: AdminHandlerFunction
