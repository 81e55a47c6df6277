"""What goes in and what comes out, as plain values: a ``Call`` and a ``Reply``.

Every rule of the bank is a function from the one to the other; only ``server.py`` knows sockets.
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

#: How an answer ends. ``clean``: as HTTP wants it. ``cut``: the connection closes in mid-body.
#: ``reset``: a TCP reset. ``hang``: silence until the other side gives up. ``wire``: the body *is*
#: the whole answer, head included, put on the wire as it stands; then the connection closes.
#: ``wire-open``: the same, and the connection stays open.
Ending = Literal["clean", "cut", "reset", "hang", "wire", "wire-open"]

Headers = tuple[tuple[str, str], ...]
Chunks = Callable[[], Iterable[bytes]]

#: The largest body that is kept beside its length and digest, in bytes.
SMALL = 64 * 1024
#: The largest body that stays in the books, in bytes.
MAX_KEPT_BODY = 16 * 1024


@dataclass(frozen=True)
class Call:
    """One request as it arrived: nothing decoded, nothing folded, nothing re-ordered.

    ``target`` is the request-target byte for byte; ``path`` and ``query`` are its parts behind the
    base path, still raw. ``body`` holds the body only if it is at most ``SMALL`` bytes long;
    ``body_length`` and ``body_sha256`` always tell of the whole.
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
        """Whether the target lies behind the base path."""
        rest = self.target.removeprefix(self.base_path)
        return self.target.startswith(self.base_path) and rest[:1] in ("", "/", "?")

    @cached_property
    def path(self) -> str:
        """The raw path behind the base path, without the query."""
        return self.target.removeprefix(self.base_path).partition("?")[0] or "/"

    @cached_property
    def query(self) -> str:
        """The raw query, without the question mark."""
        return self.target.partition("?")[2]

    @cached_property
    def arguments(self) -> dict[str, str]:
        """The query decoded; the first of each name."""
        return dict(reversed(parse_qsl(self.query, keep_blank_values=True, errors="replace")))

    @cached_property
    def form(self) -> dict[str, str]:
        """The body as ``application/x-www-form-urlencoded``; the first of each name."""
        text = self.body.decode("latin-1")
        return dict(reversed(parse_qsl(text, keep_blank_values=True, errors="replace")))

    @cached_property
    def _named(self) -> dict[str, list[str]]:
        named: dict[str, list[str]] = {}
        for name, value in self.headers:
            named.setdefault(name.decode("latin-1").lower(), []).append(value.decode("latin-1"))
        return named

    def all(self, name: str) -> list[str]:
        """Every value of one header, in order; the name in any case."""
        return self._named.get(name.lower(), [])

    def header(self, name: str) -> str | None:
        """The first value of one header, or ``None``."""
        return next(iter(self.all(name)), None)

    def basic(self) -> tuple[str, str] | None:
        """Client id and secret of HTTP Basic; ``None`` where there is none that can be read."""
        scheme, _, value = (self.header("Authorization") or "").partition(" ")
        if scheme.lower() != "basic":
            return None
        try:
            user, colon, secret = base64.b64decode(value, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return None
        return (user, secret) if colon else None

    def bearer(self) -> str | None:
        """The bearer token, or ``None``."""
        scheme, _, value = (self.header("Authorization") or "").partition(" ")
        return value.strip() if scheme.lower() == "bearer" and value.strip() else None

    def with_body(self, body: bytes, length: int, sha256: str) -> Call:
        """The same call, its body read."""
        return replace(self, body=body, body_length=length, body_sha256=sha256)


@dataclass(frozen=True)
class Reply:
    """One answer. Times are seconds, sizes bytes.

    ``body`` is bytes or a function that yields them; then ``length`` is their sum, or ``None`` for
    a chunked answer. ``delay`` comes before the head, ``pause`` between head and body, ``dribble``
    between two single bytes of the body. ``interim`` are 1xx statuses sent first. Where ``ending``
    is ``reset`` or ``hang``, ``after_head`` says whether head and half the body go out before it.
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
    #: What the bank's books call this outcome: ``ok``, or an error code.
    outcome: str = field(default="ok", compare=False)

    @property
    def paced(self) -> bool:
        """Whether it takes its time once it has begun."""
        return bool(self.pause or self.dribble)

    def with_headers(self, *headers: tuple[str, str]) -> Reply:
        """The same answer; each header given replaces its namesakes."""
        names = {name.lower() for name, _ in headers}
        kept = tuple(pair for pair in self.headers if pair[0].lower() not in names)
        return replace(self, headers=kept + headers)

    def with_outcome(self, outcome: str) -> Reply:
        """The same answer under another name in the books."""
        return replace(self, outcome=outcome)


def json_reply(value: Any, status: int = 200, headers: Headers = ()) -> Reply:
    """An ``application/json`` answer."""
    body = json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()
    return Reply(status, (("Content-Type", "application/json"), *headers), body)


def xml_reply(text: str, status: int = 200, headers: Headers = ()) -> Reply:
    """An ``application/xml`` answer."""
    return Reply(status, (("Content-Type", "application/xml"), *headers), text.encode())


def is_uuid(value: str | None) -> bool:
    """Whether this is a UUID in its canonical form of 36 characters."""
    if value is None or len(value) != 36:
        return False
    try:
        return str(uuid.UUID(value)) == value.lower()
    except ValueError:
        return False
