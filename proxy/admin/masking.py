"""PURE: a path as it may be shown: its shape, without account numbers and names of people.

The log has the whole path. A status page is looked at over shoulders, photographed and pasted into
tickets, so it keeps what says which resource was called and hides which account it was.
"""

import re
from collections.abc import Set as AbstractSet
from urllib.parse import unquote

HIDDEN = "…"
MOST = 200
"""Characters; the rest of a longer path is left out."""

_WORD = re.compile(r"[A-Za-z][A-Za-z_-]{0,39}[0-9]{0,2}")
_PERSON_BEHIND = frozenset({"institution-users"})
"""Behind these stands a login, which may look like a word."""


def mask_path(path: str, institutions: AbstractSet[str] = frozenset()) -> str:
    """Return ``path`` with everything hidden that is no plain word, version or institution.

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
    # A colon parts an id from what is asked of it.
    return ":".join(
        part if not part or part in institutions or _WORD.fullmatch(part) else HIDDEN
        for part in segment.split(":")
    )
