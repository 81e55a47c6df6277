"""The document's model: what it promises, and that a real one keeps it."""

import pytest
from pydantic import ValidationError

from proxy.admin.document import FORMAT, DocumentPart, Reload, Status


def parts() -> list[type[DocumentPart]]:
    """Return every part of the document."""
    return [*DocumentPart.__subclasses__()]


@pytest.mark.parametrize("part", parts(), ids=lambda part: part.__name__)
def test_every_field_says_what_it_means(part: type[DocumentPart]) -> None:
    """A field has its words, or is a part that has its own."""
    for name, field in part.model_fields.items():
        annotation = field.annotation
        is_part = isinstance(annotation, type) and issubclass(annotation, DocumentPart)
        assert field.description or is_part, f"{part.__name__}.{name}"


def test_unknown_fields_are_mistakes() -> None:
    """What is not in the schema is not in the document."""
    with pytest.raises(ValidationError):
        Reload.model_validate({"at": 1.0, "success": True, "why": "file", "detail": "", "more": 1})


def test_format_is_the_schemas() -> None:
    """A program that reads it knows what it reads."""
    schema = Status.model_json_schema(mode="serialization", by_alias=True)
    assert schema["properties"]["format"]["const"] == FORMAT
    assert set(schema["required"]) == set(schema["properties"])
