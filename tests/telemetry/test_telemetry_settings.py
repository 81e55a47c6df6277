"""Settings of logs and spans."""

import pytest
from pydantic import TypeAdapter, ValidationError

from proxy.telemetry.telemetry_settings import LogSettings, TracingSettings


@pytest.mark.parametrize("wrong", [{"level": "loud"}, {"sample": 2}, {"access": "all"}])
def test_invalid_log_settings_are_refused(wrong: dict[str, object]) -> None:
    """An unknown level, a share above one."""
    with pytest.raises(ValidationError):
        TypeAdapter(LogSettings).validate_python(wrong)


def test_tracing_endpoint() -> None:
    """A final slash is dropped; there is none by default."""
    adapter = TypeAdapter(TracingSettings)
    assert adapter.validate_python({"endpoint": "http://a:4318/v1/traces/"}).endpoint == (
        "http://a:4318/v1/traces"
    )
    assert TracingSettings().endpoint is None
