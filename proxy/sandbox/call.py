"""A request and a response as plain values: ``Call`` and ``Reply``.

Every endpoint is a function from ``Call`` to ``Reply``; only ``http_server.py`` uses sockets.
"""

from __future__ import annotations

import base64
import binascii
import json
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal
from urllib.parse import parse_qsl

#: How a response ends. ``clean``: complete. ``cut``: the connection closes within the body.
#: ``reset``: a TCP reset. ``hang``: nothing more is sent until the other side closes. ``wire``:
#: the body is written as raw bytes in place of a whole response, then the connection closes.
#: ``wire-open``: as ``wire``, but the connection stays open.
Ending = Literal["clean", "cut", "reset", "hang", "wire", "wire-open"]

Headers = tuple[tuple[str, str], ...]
Chunks = Callable[[], Iterable[bytes]]

#: The largest request body that an endpoint sees, in bytes.
SMALL = 64 * 1024
#: The largest request body that an ``Arrival`` stores, in bytes.
MAX_KEPT_BODY = 16 * 1024


@dataclass(frozen=True)
class Call:
    """One request as received, without decoding or reordering.

    ``target`` is the request-target; ``path`` and ``query`` are its raw parts below the base
    path. ``body`` is empty if the body is longer than ``SMALL`` bytes; ``body_length`` and
    ``body_sha256`` describe the complete body.
    """

    method: str
    target: str
    headers: tuple[tuple[bytes, bytes], ...] = ()
    base_path: str = ""
    body: bytes = b""
    body_length: int = 0
    body_sha256: str = ""

    @cached_property
    def inside(self) -> bool:
        """Whether the target is below the base path."""
        rest = self.target.removeprefix(self.base_path)
        return self.target.startswith(self.base_path) and rest[:1] in ("", "/", "?")

    @cached_property
    def path(self) -> str:
        """The raw path below the base path, without the query."""
        return self.target.removeprefix(self.base_path).partition("?")[0] or "/"

    @cached_property
    def query(self) -> str:
        """The raw query, without the question mark."""
        return self.target.partition("?")[2]

    @cached_property
    def arguments(self) -> dict[str, str]:
        """The decoded query; the first value of each name."""
        return dict(reversed(parse_qsl(self.query, keep_blank_values=True, errors="replace")))

    @cached_property
    def form(self) -> dict[str, str]:
        """The body decoded as a form; the first value of each name."""
        text = self.body.decode("latin-1")
        return dict(reversed(parse_qsl(text, keep_blank_values=True, errors="replace")))

    @cached_property
    def _named(self) -> dict[str, list[str]]:
        named: dict[str, list[str]] = {}
        for name, value in self.headers:
            named.setdefault(name.decode("latin-1").lower(), []).append(value.decode("latin-1"))
        return named

    def all(self, name: str) -> list[str]:
        """Return all values of a header in their order; the name is case-insensitive."""
        return self._named.get(name.lower(), [])

    def header(self, name: str) -> str | None:
        """Return the first value of a header, or ``None``."""
        return next(iter(self.all(name)), None)

    def basic(self) -> tuple[str, str] | None:
        """Return client id and secret of HTTP Basic, or ``None``."""
        scheme, _, value = (self.header("Authorization") or "").partition(" ")
        if scheme.lower() != "basic":
            return None
        try:
            user, colon, secret = base64.b64decode(value, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return None
        return (user, secret) if colon else None

    def bearer(self) -> str | None:
        """Return the bearer token, or ``None``."""
        scheme, _, value = (self.header("Authorization") or "").partition(" ")
        return value.strip() if scheme.lower() == "bearer" and value.strip() else None

    def with_body(self, body: bytes, length: int, sha256: str) -> Call:
        """Return a copy with the body."""
        return replace(self, body=body, body_length=length, body_sha256=sha256)


@dataclass(frozen=True)
class Reply:
    """One response. Times are seconds, sizes bytes.

    ``body`` is bytes, or a function that yields them; then ``length`` is their total, or ``None``
    for a chunked response. ``delay`` is before the head, ``pause`` between head and body,
    ``dribble`` between two bytes of the body. ``interim`` are 1xx statuses sent first. With
    ``ending`` ``reset`` or ``hang``, ``after_head`` sends the head and half the body before it.
    """

    status: int = 200
    headers: Headers = ()
    body: bytes | Chunks = b""
    length: int | None = None
    delay: float = 0.0
    pause: float = 0.0
    dribble: float = 0.0
    interim: tuple[int, ...] = ()
    ending: Ending = "clean"
    after_head: bool = False
    #: The outcome recorded in the bank's state: ``ok``, an error code or a fault's name.
    outcome: str = field(default="ok", compare=False)

    @property
    def paced(self) -> bool:
        """Whether the body is sent with delays."""
        return bool(self.pause or self.dribble)

    def with_headers(self, *headers: tuple[str, str]) -> Reply:
        """Return a copy in which these headers replace those of the same names."""
        names = {name.lower() for name, _ in headers}
        others = tuple(pair for pair in self.headers if pair[0].lower() not in names)
        return replace(self, headers=others + headers)

    def with_outcome(self, outcome: str) -> Reply:
        """Return a copy with another recorded outcome."""
        return replace(self, outcome=outcome)


def json_reply(value: Any, status: int = 200, headers: Headers = ()) -> Reply:
    """Return an ``application/json`` response."""
    body = json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()
    return Reply(status, (("Content-Type", "application/json"), *headers), body)


def xml_reply(text: str, status: int = 200, headers: Headers = ()) -> Reply:
    """Return an ``application/xml`` response."""
    return Reply(status, (("Content-Type", "application/xml"), *headers), text.encode())


def is_uuid(value: str | None) -> bool:
    """Whether ``value`` is a UUID in its canonical form of 36 characters."""
    if value is None or len(value) != 36:
        return False
    try:
        return str(uuid.UUID(value)) == value.lower()
    except ValueError:
        return False
