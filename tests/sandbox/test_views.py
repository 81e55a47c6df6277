"""Recorded requests, as they are shown."""

import pytest

from proxy.sandbox import Arrival, TokenArrival
from proxy.sandbox.views import shown_arrival, shown_request


@pytest.mark.parametrize("name", [b"Authorization", b"AUTHORIZATION", b"cookie"])
def test_credentials_are_hidden(name: bytes) -> None:
    """In headers of any case."""
    headers = [(name, b"secret"), (b"X", b"plain")]
    arrival = shown_arrival(Arrival(0, "GET", "/", headers))
    request = shown_request(TokenArrival(0, "V2", "password", "00016", "c", headers))
    for shown in (arrival, request):
        assert shown["headers"] == [[name.decode(), "(hidden)"], ["X", "plain"]]


def test_body_is_length_and_digest() -> None:
    """Its content is hidden."""
    arrival = Arrival(0, "PUT", "/", [], b"hi", 2, "abc", complete=True, status=200)
    assert shown_arrival(arrival)["body"] == {"bytes": 2, "sha256": "abc"}
