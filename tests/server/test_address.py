"""Addresses to listen on."""

import pytest

from proxy.server.address import Address


@pytest.mark.parametrize(
    ("text", "printed", "loopback"),
    [
        ("127.0.0.1:8080", "127.0.0.1:8080", True),
        ("127.9.9.9:0", "127.9.9.9:0", True),
        ("[::1]:8080", "[::1]:8080", True),
        ("localhost:80", "localhost:80", True),
        ("0.0.0.0:80", "0.0.0.0:80", False),
        ("[::]:80", "[::]:80", False),
        ("proxy.example:80", "proxy.example:80", False),
        ("unix:/run/p.sock", "unix:/run/p.sock", True),
        ("8080", "127.0.0.1:8080", True),
        (":8080", "127.0.0.1:8080", True),
    ],
)
def test_addresses_are_parsed_and_printed(text: str, printed: str, loopback: bool) -> None:
    """An address prints as written; a port alone gets its host."""
    address = Address.parse(text)
    assert str(address) == printed
    assert address.is_loopback is loopback
    assert Address.parse(str(address)) == address


@pytest.mark.parametrize(
    "text", ["8080x", "123456", "127.0.0.1", "a b:80", "a:99999", "[::1:80", "h:-1", "unix:p", ""]
)
def test_invalid_address_is_refused(text: str) -> None:
    """The error says what is expected."""
    with pytest.raises(ValueError, match="such as 127"):
        Address.parse(text)
