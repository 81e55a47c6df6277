"""The store's URL."""

import re
from dataclasses import dataclass
from enum import StrEnum

from proxy.server.address import Address

_FORM = re.compile(
    r"(?:redis|valkey)(?P<tls>s?)(?:\+(?P<kind>sentinel|cluster))?"
    r"://(?P<nodes>[^/@?#]+)(?:/(?P<rest>[A-Za-z0-9._/-]*))?"
)
_NODE = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]+))(?::(\d{1,5}))?")
_PORTS = {"single": 6379, "cluster": 6379, "sentinel": 26379}


class StoreKind(StrEnum):
    """One server, a primary behind Sentinels, or a cluster."""

    SINGLE = "single"
    SENTINEL = "sentinel"
    CLUSTER = "cluster"


@dataclass(frozen=True, slots=True)
class StoreUrl:
    """A store's address. ``primary`` is its name at the Sentinels."""

    kind: StoreKind
    tls: bool
    nodes: tuple[tuple[str, int], ...]
    primary: str = ""
    database: int = 0

    @property
    def is_loopback(self) -> bool:
        """Whether all nodes are on this machine."""
        return all(Address(host, port).is_loopback for host, port in self.nodes)

    @classmethod
    def parse(cls, text: str) -> "StoreUrl":
        """Parse ``redis://``, ``redis+sentinel://`` or ``redis+cluster://``.

        ``rediss`` means TLS; ``valkey`` is the same as ``redis``. Raises ``ValueError``.
        """
        if "@" in text:
            raise ValueError("must not contain a user; set store.username and store.password_file")
        match = _FORM.fullmatch(text)
        if match is None:
            raise ValueError(
                "expected redis://HOST:PORT, redis+sentinel://HOST:PORT,HOST:PORT/NAME or "
                "redis+cluster://HOST:PORT,HOST:PORT; rediss for TLS"
            )
        kind = StoreKind(match["kind"] or "single")
        nodes = tuple(_node(part, _PORTS[kind]) for part in match["nodes"].split(","))
        if kind is StoreKind.SINGLE and len(nodes) > 1:
            raise ValueError("several servers need redis+sentinel:// or redis+cluster://")
        primary, database = _rest(kind, match["rest"] or "")
        return cls(kind, bool(match["tls"]), nodes, primary, database)


def _node(text: str, otherwise: int) -> tuple[str, int]:
    match = _NODE.fullmatch(text)
    if match is None or int(match[3] or otherwise) not in range(1, 65_536):
        raise ValueError(f"{text} is not HOST:PORT")
    return match[1] or match[2], int(match[3] or otherwise)


def _rest(kind: StoreKind, text: str) -> tuple[str, int]:
    """Return the name of the primary and the number of the database."""
    primary, _, database = text.partition("/") if kind is StoreKind.SENTINEL else ("", "", text)
    if kind is StoreKind.SENTINEL and not primary:
        raise ValueError("Sentinels need the name of the primary: …/NAME")
    if database and (kind is StoreKind.CLUSTER or not re.fullmatch(r"\d{1,4}", database)):
        raise ValueError("expected the number of a database after the last /; clusters have only 0")
    return primary, int(database or 0)
