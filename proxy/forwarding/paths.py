"""How different servers may read a path: decoding, dot segments, path parameters."""

import re
from collections.abc import Iterator
from functools import lru_cache
from itertools import accumulate, product

_REPEATED_DECODING = 8
_ESCAPE = re.compile(rb"%[0-9A-Fa-f]{2}")
_HEX = b"0123456789abcdefABCDEF"
_ESCAPED = {b"%%%c%c" % pair: bytes((int(bytes(pair), 16),)) for pair in product(_HEX, repeat=2)}
_STEPS = {b"": 0, b".": 0, b"..": -1}
_OVERLONG = re.compile(rb"(?:[\xc0\xc1]|(?:\xe0|\xf0\x80)[\x80\x81])[\x80-\xbf]")
_UNUSUAL = re.compile(rb"[^!$&'()*+,./0-9:=@A-Z_a-z~-]|//|/\.")
_AMBIGUOUS = re.compile(rb"//|[\\;#?\x00-\x1f\x7f]|(?:\A|/) | (?:/|\Z)|(?:\A|/)\.\.?(?:/|\Z)")
_ENCODED_DELIMITER = re.compile(rb"%(?:2f|5c|25)", re.IGNORECASE)
_DELIMITER = re.compile(rb"[/\\;?#]")
_CONTROLS = bytes([*range(0x20), 0x7F])
_CONTROLS_TO_SLASHES = bytes.maketrans(_CONTROLS, b"/" * len(_CONTROLS))
# Characters not allowed in a path (RFC 3986 section 3.3) and a query (section 3.4). Square brackets
# are allowed in a query, because nearly every client sends page[size]=10 without encoding.
_NOT_IN_PATH = re.compile(rb"[^!-~]|[\"#<>\[\\\]^`{|}]")
_NOT_IN_QUERY = rb"[^!-~]|[%b]"
_RELAXABLE = b"{|}"
_RESERVED = (
    (b"oauth2",),
    (b"v1", b"oauth"),
    (b"v1", b"auth-code"),
    (b"v1", b"client-authorization"),
)


def is_path(path: bytes) -> bool:
    """Whether ``path`` has only characters of an origin-form path (RFC 9112 section 3.2.1).

    Percent signs are not checked: an invalid escape is forwarded unchanged.
    """
    return _NOT_IN_PATH.search(path) is None


def not_in_query(relaxed: str = "") -> re.Pattern[bytes]:
    """Return the pattern of a character that is not allowed in a query.

    ``relaxed`` are those of ``{``, ``|`` and ``}`` that are allowed nevertheless.
    """
    allowed = relaxed.encode("ascii")
    refused = b'"#<>^`\\' + bytes(char for char in _RELAXABLE if char not in allowed)
    return re.compile(_NOT_IN_QUERY % re.escape(refused))


def split_target(target: bytes) -> tuple[bytes, bytes]:
    """Return the path of a request-target and what follows it, ``?`` included."""
    path, mark, query = target.partition(b"?")
    return path, mark + query


def decode(text: bytes) -> bytes:
    """Percent-decode once; invalid escapes stay.

    ``urllib`` does the same, but raises and catches an exception for each invalid escape.
    """
    return _ESCAPE.sub(_decode_escape, text) if b"%" in text else text


def _decode_escape(escape: re.Match[bytes]) -> bytes:
    return _ESCAPED[escape[0]]


def segments(path: bytes) -> list[bytes]:
    """Return the segments of a path, each percent-decoded once, without the empty ones."""
    return [decode(segment) for segment in path.split(b"/") if segment]


def is_plain(path: bytes) -> bool:
    """Whether every server sees the segments of ``path`` as they are written.

    Such a path has no escapes, parameters, dot segments or empty segments. Nearly every path is
    plain, and one search shows it.
    """
    return _UNUSUAL.search(path) is None


def is_ambiguous(path: bytes) -> bool:
    """Whether two servers could see two different resources in ``path``.

    Access policies refuse such a path: the resource that was checked must be the one served.
    """
    if is_plain(path):
        return False
    decoded = decode(path)
    return (
        _AMBIGUOUS.search(decoded) is not None
        or _ENCODED_DELIMITER.search(path) is not None
        or _OVERLONG.search(decoded) is not None
        or decode(decoded) != decoded
    )


def possible_segments(path: bytes) -> set[bytes]:
    """Return, in lower case, everything that a server may read as a segment of ``path``.

    Servers decode once or several times, before or after they split and resolve dot segments, and
    with or without path parameters. In any order they only drop or reorder the pieces that are
    returned here, so a name that is absent is in no reading.
    """
    found: set[bytes] = set()
    for decoded in _decodings(path):
        low = _OVERLONG.sub(_short_form, decoded).lower()
        # Some servers drop control characters, others end the name there.
        for text in (low.translate(None, _CONTROLS), low.translate(_CONTROLS_TO_SLASHES)):
            found.update(piece.strip() for piece in _DELIMITER.split(text))
    return found


def is_reserved(path: bytes) -> bool:
    """Whether an upstream might take ``path`` for one of the bank's token endpoints.

    A path that servers read differently is reserved when it holds an endpoint's names anywhere.
    """
    low = path.lower()
    if is_plain(path):
        return b"auth" in low and _names_reserved(low.split(b"/"))
    if b"auth" not in _innermost(path):
        return False
    if is_ambiguous(path):
        found = possible_segments(path)
        return any(found.issuperset(name) for name in _RESERVED)
    return _names_reserved(_read(path))


def is_hidden(name: bytes, path: bytes) -> bool:
    """Whether some server may see a segment ``name``, in any case, that others do not see."""
    if name not in _innermost(path):
        return False
    if is_ambiguous(path):
        return name in possible_segments(path)
    written = [part for part in path.split(b"/") if part]
    return any(part == name != raw for part, raw in zip(_read(path), written, strict=True))


def _read(path: bytes) -> list[bytes]:
    """Return the segments of an unambiguous path in lower case, as a server may compare them."""
    return [part.lower() for part in segments(path)]


def climbs(path: bytes) -> bool:
    """Whether some server may resolve ``path`` to a place above its beginning.

    Each piece between two slashes descends by at most one level and ascends by one per ``..``.
    """
    if is_plain(path) or b".." not in _DELIMITER.split(_innermost(path).replace(b" ", b"")):
        return False
    return any(depth < 0 for depth in accumulate(map(_step, path.split(b"/"))))


def _step(written: bytes) -> int:
    if written.isalnum() or written in _STEPS:
        return _STEPS.get(written, 1)  # most segments: the rest is slow
    *_, decoded = _decodings(written)
    parts = [part.strip() for part in _DELIMITER.split(_folded(decoded))]
    return -parts.count(b"..") or parts[0] not in (b"", b".")


@lru_cache(maxsize=1)  # called several times for the same path
def _innermost(path: bytes) -> bytes:
    """Return ``path`` decoded repeatedly, in lower case and without control characters.

    It contains the names of every partial decoding: decoding does not change the text between
    delimiters.
    """
    *_, decoded = _decodings(path)
    return _folded(decoded)


def _folded(decoded: bytes) -> bytes:
    if not decoded.isascii():
        decoded = _OVERLONG.sub(_short_form, decoded)
    return decoded.translate(None, _CONTROLS).lower()


def _decodings(path: bytes) -> Iterator[bytes]:
    """Yield ``path`` as it is, decoded once, and so on until nothing is left to decode."""
    for _ in range(_REPEATED_DECODING):
        yield path
        if b"%" not in path:
            return
        decoded = decode(path)
        if decoded == path:
            return
        path = decoded


def _names_reserved(parts: list[bytes]) -> bool:
    return any(
        tuple(parts[at : at + len(name)]) == name for name in _RESERVED for at in range(len(parts))
    )


def _short_form(overlong: re.Match[bytes]) -> bytes:
    high, low = overlong[0][-2:]
    return bytes([(high & 1) << 6 | low & 0x3F])


def has_base(path: bytes, base: bytes) -> bool:
    """Whether ``path`` begins with the base path, as every path does with an empty one."""
    if not base:
        return True
    return path.startswith(base) and path[len(base) : len(base) + 1] in (b"", b"/")
