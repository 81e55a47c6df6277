"""Masks paths for the status page: hides account numbers and names of people.

The log has the whole path. A status page ends up in screenshots and tickets, so it shows which
resource was called, but not which account.
"""

import re
from collections.abc import Set as AbstractSet
from urllib.parse import unquote

HIDDEN = "…"
MOST = 200
"""Characters; a longer path is truncated."""

_WORD = re.compile(r"[A-Za-z][A-Za-z_-]{0,39}[0-9]{0,2}")
_PERSON_BEHIND = frozenset({"institution-users"})
"""The segment after these is a login, which may look like a word."""


def mask_path(path: str, institutions: AbstractSet[str] = frozenset()) -> str:
    """Return ``path`` with all parts hidden except words, versions and institutions.

    ``/v1/customers/8812345:accounts`` becomes ``/v1/customers/…:accounts``.
    """
    masked_segments: list[str] = []
    before = ""
    for segment in path[: 8 * MOST].split("/"):
        if unquote(before).lower() in _PERSON_BEHIND:
            masked_segments.append(HIDDEN if segment else "")
        else:
            masked_segments.append(_segment(segment, institutions))
        before = segment
    text = "/".join(masked_segments)
    return text if len(text) <= MOST and len(path) <= 8 * MOST else text[: MOST - 1] + HIDDEN


def _segment(segment: str, institutions: AbstractSet[str]) -> str:
    # A colon separates an id from an operation.
    return ":".join(
        part if not part or part in institutions or _WORD.fullmatch(part) else HIDDEN
        for part in segment.split(":")
    )
