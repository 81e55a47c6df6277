"""A generated passage of a page, between two marks."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Passage:
    """A generated passage. ``subject`` names it, ``how`` says which command writes it."""

    subject: str
    how: str

    @property
    def opening(self) -> str:
        """The mark before the passage."""
        return f"<!-- {self.subject}: {self.how} -->"

    @property
    def closing(self) -> str:
        """The mark after the passage."""
        return f"<!-- {self.subject} end -->"

    def read(self, page: str) -> str:
        """Return the passage in a page. Raises ``ValueError`` if the page does not have it."""
        return self._parts(page)[1]

    def put(self, page: str, text: str) -> str:
        """Return the page with ``text`` as the passage. Raises ``ValueError`` as ``read`` does."""
        before, _, after = self._parts(page)
        return f"{before}{self.opening}\n\n{text.strip()}\n\n{self.closing}{after}"

    def write(self, document: Path, text: str) -> None:
        """Replace the passage in a file. Raises ``ValueError`` as ``read`` does."""
        page = document.read_text(encoding="utf-8")
        document.write_text(self.put(page, text), encoding="utf-8")

    def _parts(self, page: str) -> tuple[str, str, str]:
        before, opening, rest = page.partition(self.opening)
        inside, closing, after = rest.partition(self.closing)
        if not (opening and closing):
            raise ValueError(f"the page has no place between {self.opening} and {self.closing}")
        return before, inside, after
