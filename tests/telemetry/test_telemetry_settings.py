"""Settings of logs and spans."""

import pytest
from pydantic import TypeAdapter, ValidationError

from proxy.telemetry.telemetry_settings import LogSettings, TracingSettings


@pytest.mark.parametrize("wrong", [{"level": "loud"}, {"sample": 2}, {"access": "all"}])
def test_what_the_log_does_not_take(wrong: dict[str, object]) -> None:
    """A level that is none, a share of more than all."""
    with pytest.raises(ValidationError):
        TypeAdapter(LogSettings).validate_python(wrong)


def test_spans_go_to_a_url() -> None:
    """A slash at the end is left out; there are none by default."""
    adapter = TypeAdapter(TracingSettings)
    assert adapter.validate_python({"endpoint": "http://a:4318/v1/traces/"}).endpoint == (
        "http://a:4318/v1/traces"
    )
    assert TracingSettings().endpoint is None
