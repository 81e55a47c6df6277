"""Content of secret files: each mistake is told apart."""

import base64

import pytest

from proxy.tokens.secret_content import secret_problem


@pytest.mark.parametrize(
    ("raw", "cause"),
    [
        (b"s3cret", ""),
        (b"s3cret\r\n", ""),
        (b"", "secret-empty"),
        (b"\r\n\n", "secret-empty"),
        (b"\xef\xbb\xbfs3cret", "secret-byte-order-mark"),
        ("s3cret".encode("utf-16-be"), "secret-not-ascii"),
        (b"one\ntwo", "secret-lines"),
        (b"one\r\rtwo", "secret-lines"),
        (b"t\xc3\xa4glich", "secret-not-ascii"),
        (b"a\0b", "secret-not-ascii"),
        (b" s3cret", "secret-wrapped"),
        (b"s3cret \n", "secret-wrapped"),
        (b"s3cret'", "secret-wrapped"),
        (b"'s3cret'", "secret-quoted"),
        (b'"', "secret-wrapped"),
        (b"client_secret=s3cret", "secret-named"),
        (b"export CANDESCENT_CLIENT_SECRET='s3cret'", "secret-named"),
        (b"client_secret: s3cret", "secret-named"),
        (b"Secret Key: s3cret", "secret-named"),
        (b'{"client_id": "a", "client_secret": "s3cret"}', "secret-named"),
        (b"client_secrets3cret", ""),
        (b"{s3cret", ""),
        (base64.b64encode(b"sandbox-secret"), "secret-base64"),
        (base64.b64encode(b"sandbox-secret\n") + b"\n", "secret-base64"),
        (base64.b64encode(bytes(range(100, 160))), ""),
        (b"gBOLabcd", ""),
    ],
)
def test_content_of_a_secret_file(raw: bytes, cause: str) -> None:
    """Each kind of wrong content has its cause; ordinary secrets have none."""
    found = secret_problem(raw)
    assert (found.name if found else "") == cause
