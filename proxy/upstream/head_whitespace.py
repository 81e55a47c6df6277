"""Removes white space before the colon of a response's headers (RFC 9112 section 5.1).

llhttp refuses it. So a head that llhttp refuses is parsed a second time, after this module has
cleaned it; other responses are not affected.
"""

import re

_BEFORE_COLON = re.compile(rb"(\r\n[!#$%&'*+.^_`|~0-9A-Za-z-]++)[\t ]++:")
_INTERIM = re.compile(rb"HTTP/1\.[01] 1(?!01)[0-9][0-9]")


class HeadWhitespace:
    """Holds a response until its head is whole, interim responses before it included."""

    def __init__(self) -> None:
        self._held = bytearray()
        self._head_at = 0
        self._searched_to = 0
        self._is_over = False

    def remove(self, data: bytes) -> bytes:
        """Return the bytes that can be parsed: none, then the heads, then blocks as received."""
        if self._is_over:
            return data
        self._held += data
        while (end := self._held.find(b"\r\n\r\n", self._searched_to)) >= 0:
            is_interim = _INTERIM.match(self._held, self._head_at) is not None
            self._head_at = self._searched_to = end + 4
            if not is_interim:
                self._is_over = True
                heads, rest = bytes(self._held[: end + 4]), bytes(self._held[end + 4 :])
                self._held.clear()
                return _BEFORE_COLON.sub(rb"\1:", heads) + rest
        # Each byte is scanned once, also if the head arrives in many blocks.
        self._searched_to = max(self._head_at, len(self._held) - 3)
        return b""
