"""Requests and responses of the admin port."""

from proxy.admin.exchange import AdminRequest, AdminResponse

REQUEST = AdminRequest("GET", "/", "", (("accept", b"a"), ("host", b"h"), ("accept", b"b")))


def test_headers_are_found_by_name() -> None:
    """The first value, or all of them."""
    assert (REQUEST.header("accept"), REQUEST.header("cookie")) == (b"a", b"")
    assert REQUEST.all("accept") == [b"a", b"b"]


def test_response_is_not_cached_by_default() -> None:
    """Its body has its length and type."""
    response = AdminResponse(200, b"fine").encode(keep_alive=True)
    assert bytes(response.data) == (
        b"HTTP/1.1 200 OK\r\nCache-Control: no-store\r\n"
        b"Content-Type: text/plain; charset=utf-8\r\nContent-Length: 4\r\n\r\nfine"
    )


def test_response_says_how_the_connection_goes_on() -> None:
    """At its end, and always to HTTP/1.0; HEAD gets no body."""
    last = AdminResponse(200, b"fine").encode(keep_alive=False, bodiless=True)
    assert last.data.endswith(b"Content-Length: 4\r\nConnection: close\r\n\r\n")
    assert not last.keep_alive
    old = AdminResponse(200, b"fine").encode(keep_alive=True, is_1_0=True)
    assert b"Connection: keep-alive\r\n" in old.data
