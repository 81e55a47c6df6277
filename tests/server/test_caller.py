"""Who is at the other end of a connection."""

from proxy.server.caller import caller_of, subject_names


def test_names_in_a_certificate() -> None:
    """DNS names, URIs and mail addresses; common names only without any alternative name."""
    certificate = {
        "subject": ((("countryName", "XY"),), (("commonName", "app"),)),
        "subjectAltName": (("DNS", "a.test"), ("IP Address", "10.0.0.1"), ("URI", "spiffe://x")),
    }
    assert subject_names(certificate) == ("a.test", "spiffe://x")
    certificate["subjectAltName"] = (("IP Address", "10.0.0.1"),)
    assert subject_names(certificate) == ()
    del certificate["subjectAltName"]
    assert subject_names(certificate) == ("app",)
    assert subject_names({}) == ()


def test_caller_of_a_socket() -> None:
    """The address of TCP; a Unix socket has none."""
    caller = caller_of(("2001:db8::1", 1, 0, 0), {"subjectAltName": (("DNS", "a.test"),)})
    assert (caller.address, caller.names) == ("2001:db8::1", ("a.test",))
    assert (caller_of("", None).address, caller_of(None, {}).names) == ("", ())
