"""The format of a request's line in the access log: a template with fields in braces."""

import re
from collections.abc import Mapping
from difflib import get_close_matches
from itertools import zip_longest
from string import Formatter
from typing import Any

FIELDS = (
    *("aborted", "caller", "caller_address", "clf_time", "download_bytes", "error_source"),
    *("institution", "level", "listener", "method", "ms", "path", "policy", "protocol", "reason"),
    *("replays", "retry", "route", "status", "timestamp", "transactionId", "upload_bytes"),
    *("upstream_ms", "user_agent"),
)
"""The fields of a template; docs/operations.md describes them."""

CLF_TIME = "%d/%b/%Y:%H:%M:%S +0000"
"""The time of the common log format, for ``strftime`` in UTC."""

COMMON = (
    '{caller_address} - {caller} [{clf_time}] "{method} {path} {protocol}" {status} '
    "{download_bytes}"
)
NAMED = {
    "common": COMMON,
    # Without the Referer, because its query may name people.
    "combined": COMMON + ' "-" "{user_agent}"',
}
"""The formats of Apache and nginx."""

EXAMPLE = "{method} {path} {status}"
_FIELDS_IN_WORDS = f"the fields are {', '.join(FIELDS)}; use them such as in {EXAMPLE}"
_EMPTY = "-"
_UNSAFE = re.compile(r"[^ !#-\[\]-~]")
_UNSAFE_OR_SPACE = re.compile(r"[^!#-\[\]-~]")


class AccessFormat:
    """A template. Raises ``ValueError`` for one that is invalid."""

    def __init__(self, text: str) -> None:
        self._end = ""
        self._parts: list[tuple[str, str, re.Pattern[str]]] = []
        try:
            parsed = [*Formatter().parse(NAMED.get(text, text))]
        except ValueError as error:
            raise ValueError(
                f"{error}; write a brace that is meant as {{{{ or }}}}, such as {EXAMPLE}"
            ) from None
        following = [literal for literal, *_ in parsed[1:]]
        for (literal, name, options, conversion), after in zip_longest(parsed, following):
            self._end += literal
            if name is None:
                continue
            if options or conversion:
                raise ValueError(f"{{{name}}} takes no options after ! or :")
            if name not in FIELDS:
                raise ValueError(_unknown_field(name))
            fills_quotes = self._end.endswith('"') and (after or "").startswith('"')
            unsafe = _UNSAFE if fills_quotes or name == "clf_time" else _UNSAFE_OR_SPACE
            self._parts.append((self._end, name, unsafe))
            self._end = ""
        self._end += "\n"
        if not self._parts:
            raise ValueError(_unknown_format(text))
        if not all(map(str.isprintable, text)):
            raise ValueError("expected one line of printable characters")

    def line(self, fields: Mapping[str, Any]) -> str:
        r"""Return the line, with its end, for ``fields``; missing and empty ones are ``-``.

        Control characters, quotes, backslashes, what is not ASCII, and spaces, except in a field
        with quotes around it, are written as ``\u0020``, so that no value forges a line or a field.
        """
        written = []
        for literal, name, unsafe in self._parts:
            value = fields.get(name, "")
            if name == "status":
                text = f"{value:03}"
            else:
                text = "true" if value is True else unsafe.sub(_escaped, str(value))
            written.append(literal + (text or _EMPTY))
        return "".join(written) + self._end


def check_format(text: str) -> str:
    """Return a valid format. Raises ``ValueError``."""
    if text not in ("auto", "json"):
        AccessFormat(text)
    return text


def _escaped(match: re.Match[str]) -> str:
    r"""Return a character as ``\u0000``, beyond the first plane as two surrogates, as in JSON."""
    units = match[0].encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))


def _unknown_field(name: str) -> str:
    near = get_close_matches(name, FIELDS, n=1)
    hint = f"did you mean {{{near[0]}}}?" if near else _FIELDS_IN_WORDS
    return f"{{{name}}} is not a field; {hint}"


def _unknown_format(text: str) -> str:
    near = get_close_matches(text, ("auto", "json", *NAMED), n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    return f"expected auto, json, common, combined, or a template such as {EXAMPLE}{hint}"
