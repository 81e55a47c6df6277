"""Path patterns of the configuration, in routes and policies.

``/v1/accounts`` matches that path, ``*`` one segment, and ``**`` at the end any number of further
segments, or none. A slash at the end makes no difference. Patterns are written without
percent-encoding and match a caller's path with or without it.
"""

import re
from dataclasses import dataclass

_SEGMENT = re.compile(rb"[A-Za-z0-9._~!$&'()+,=:@-]+|\*")


@dataclass(frozen=True, slots=True)
class Pattern:
    """A path pattern. Empty ``methods`` mean every method; ``open_end`` is ``**`` at the end."""

    segments: tuple[bytes, ...]
    open_end: bool
    methods: frozenset[str] = frozenset()

    @classmethod
    def parse(cls, text: str, methods: frozenset[str] = frozenset()) -> "Pattern":
        """Parse a pattern. Raises ``ValueError`` with the reason."""
        if not text.startswith("/"):
            raise ValueError(f"{text!r} does not begin with a slash")
        parts = [part for part in text.encode().split(b"/")[1:] if part]
        open_end = parts[-1:] == [b"**"]
        parts = parts[:-1] if open_end else parts
        for part in parts:
            if not _SEGMENT.fullmatch(part) or part in (b".", b".."):
                raise ValueError(
                    f"{text!r}: {part.decode()!r} is not a segment; "
                    "* matches one segment, ** is allowed only at the end"
                )
        return cls(tuple(parts), open_end, methods)

    def matches(self, method: str, segments: list[bytes], *, any_case: bool = False) -> bool:
        """Whether the pattern matches a request of this method and these path segments."""
        if self.methods and method not in self.methods:
            return False
        if len(segments) < len(self.segments):
            return False
        if len(segments) > len(self.segments) and not self.open_end:
            return False
        pairs = zip(self.segments, segments, strict=False)
        if any_case:
            return all(mine == b"*" or mine.lower() == theirs.lower() for mine, theirs in pairs)
        return all(mine in (b"*", theirs) for mine, theirs in pairs)

    def covers(self, other: "Pattern") -> bool:
        """Whether this pattern matches every request that ``other`` matches."""
        if self.methods and not (other.methods and other.methods <= self.methods):
            return False
        if len(other.segments) < len(self.segments):
            return False
        if not self.open_end and (other.open_end or len(other.segments) > len(self.segments)):
            return False
        pairs = zip(self.segments, other.segments, strict=False)
        return all(mine in (b"*", theirs) for mine, theirs in pairs)

    def __str__(self) -> str:
        """Return the pattern in its written form, with its methods."""
        path = b"/" + b"/".join((*self.segments, *([b"**"] if self.open_end else [])))
        methods = ",".join(sorted(self.methods)) or "any method"
        return f"{path.decode()} ({methods})"
