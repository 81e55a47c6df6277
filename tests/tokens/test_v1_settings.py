"""Settings of V1 token calls."""

import pytest
from pydantic import TypeAdapter, ValidationError

from proxy.tokens.v1_settings import V1Settings

ADAPTER = TypeAdapter(V1Settings)


def test_valid_settings() -> None:
    """An address is normalized."""
    written = {"user_agent": "Desk/1.0;Linux", "originating_ip": "2001:DB8::1"}
    assert ADAPTER.validate_python(written).originating_ip == "2001:db8::1"


@pytest.mark.parametrize(
    "wrong", [{"user_agent": "Desk"}, {"originating_ip": "desk"}, {"offering_id": "a b"}]
)
def test_invalid_settings_are_refused(wrong: dict[str, str]) -> None:
    """A missing version, an invalid address, a space."""
    with pytest.raises(ValidationError, match="expected"):
        ADAPTER.validate_python(wrong)
