"""A passage of a page that a program writes: what stands between two marks."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Passage:
    """A place in a page. ``subject`` names it, ``how`` says what writes it."""

    subject: str
    how: str

    @property
    def opening(self) -> str:
        """The mark before it."""
        return f"<!-- {self.subject}: {self.how} -->"

    @property
    def closing(self) -> str:
        """The mark behind it."""
        return f"<!-- {self.subject} end -->"

    def read(self, page: str) -> str:
        """Return what stands there. Raises ``ValueError`` where a page has no such place."""
        return self._parts(page)[1]

    def put(self, page: str, text: str) -> str:
        """Return the page with ``text`` there. Raises ``ValueError`` as ``read`` does."""
        before, _, after = self._parts(page)
        return f"{before}{self.opening}\n\n{text.strip()}\n\n{self.closing}{after}"

    def write(self, document: Path, text: str) -> None:
        """Put ``text`` into a file. Raises ``ValueError`` as ``read`` does."""
        page = document.read_text(encoding="utf-8")
        document.write_text(self.put(page, text), encoding="utf-8")

    def _parts(self, page: str) -> tuple[str, str, str]:
        before, opening, rest = page.partition(self.opening)
        inside, closing, after = rest.partition(self.closing)
        if not (opening and closing):
            raise ValueError(f"the page has no place between {self.opening} and {self.closing}")
        return before, inside, after
