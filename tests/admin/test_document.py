"""The model of the status document."""

import pytest
from pydantic import ValidationError

from proxy.admin.document import FORMAT, DocumentPart, Reload, Status


def parts() -> list[type[DocumentPart]]:
    """Return every part of the document."""
    return [*DocumentPart.__subclasses__()]


@pytest.mark.parametrize("part", parts(), ids=lambda part: part.__name__)
def test_every_field_has_a_description(part: type[DocumentPart]) -> None:
    """Or is a part with descriptions."""
    for name, field in part.model_fields.items():
        annotation = field.annotation
        is_part = isinstance(annotation, type) and issubclass(annotation, DocumentPart)
        assert field.description or is_part, f"{part.__name__}.{name}"


def test_unknown_fields_are_refused() -> None:
    """By the model."""
    with pytest.raises(ValidationError):
        Reload.model_validate({"at": 1.0, "success": True, "why": "file", "detail": "", "more": 1})


def test_format_is_that_of_the_schema() -> None:
    """Readers can check it."""
    schema = Status.model_json_schema(mode="serialization", by_alias=True)
    assert schema["properties"]["format"]["const"] == FORMAT
    assert set(schema["required"]) == set(schema["properties"])
