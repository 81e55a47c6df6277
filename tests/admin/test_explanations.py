"""The page that explains errors."""

from proxy.admin import explanations
from proxy.errors import kinds


def test_every_error_is_explained() -> None:
    """With an anchor, its cause and its remedy, as text."""
    text = explanations.page().decode()
    for kind in kinds.KINDS:
        assert f'<dt id="{kind.name}">' in text
    assert text.count("<dd>") == len(kinds.KINDS)
    assert "For `{`, `|` and `}` in a query" in text
    assert "The bank&#x27;s certificate has expired." in text
