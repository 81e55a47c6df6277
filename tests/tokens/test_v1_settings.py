"""Settings of V1 token calls."""

import pytest
from pydantic import TypeAdapter, ValidationError

from proxy.tokens.v1_settings import V1Settings

ADAPTER = TypeAdapter(V1Settings)


def test_what_v1_calls_say() -> None:
    """An address is written in its usual form."""
    written = {"user_agent": "Desk/1.0;Linux", "originating_ip": "2001:DB8::1"}
    assert ADAPTER.validate_python(written).originating_ip == "2001:db8::1"


@pytest.mark.parametrize(
    "wrong", [{"user_agent": "Desk"}, {"originating_ip": "desk"}, {"offering_id": "a b"}]
)
def test_what_they_cannot_say(wrong: dict[str, str]) -> None:
    """A version that is missing, an address that is none, a space."""
    with pytest.raises(ValidationError, match="expected"):
        ADAPTER.validate_python(wrong)
