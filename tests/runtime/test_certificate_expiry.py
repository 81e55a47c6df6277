"""Expiry of certificates, compared with the ``cryptography`` library."""

import base64
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from proxy.runtime.certificate_expiry import expiries, expiry
from tests.support.certificates import OpensslAuthority


def dates(file: Path) -> list[float]:
    """Return when the certificates in a file expire, as ``cryptography`` reads them."""
    found = x509.load_pem_x509_certificates(file.read_bytes())
    return [each.not_valid_after_utc.timestamp() for each in found]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> OpensslAuthority:
    """Return an authority that is valid for two days."""
    return OpensslAuthority.make(tmp_path_factory.mktemp("certificates"))


@pytest.mark.parametrize("days", ["1", "400", "12000", "100000"])
def test_expiry_agrees_with_the_library(authority: OpensslAuthority, days: str) -> None:
    """In both date formats of X.509; a key in the file is skipped."""
    file = authority.issue("bank.test", "DNS:bank.test", days=days, file=f"leaf-{days}")
    assert expiries([("a", file)]) == {"a": dates(file)[0]}


def test_first_expiry_of_a_bundle(authority: OpensslAuthority, tmp_path: Path) -> None:
    """The certificate that expires first counts, wherever it is."""
    leaf = authority.issue("bank.test", days="9", file="long")
    bundle = tmp_path / "bundle.pem"
    bundle.write_bytes(b"Our authorities:\n" + leaf.read_bytes() + authority.file.read_bytes())
    assert expiries([("a", bundle)]) == {"a": min(dates(bundle))}
    assert len(set(dates(bundle))) == 2


def test_settings_have_separate_dates(authority: OpensslAuthority) -> None:
    """Two settings have two dates."""
    leaf = authority.issue("bank.test", days="9", file="nine")
    found = expiries([("upstream.ca_file", authority.file), ("callers.certificate_file", leaf)])
    assert found == {
        "upstream.ca_file": dates(authority.file)[0],
        "callers.certificate_file": dates(leaf)[0],
    }


def test_unreadable_files_are_skipped(authority: OpensslAuthority, tmp_path: Path) -> None:
    """Missing, empty, key only, or invalid."""

    def files() -> Iterator[tuple[str, Path]]:
        yield "gone", tmp_path / "gone.pem"
        yield "key", authority.key
        for name, content in (
            ("empty", b""),
            ("nonsense", base64.b64encode(b"nonsense")),
            ("no-base64", b"!"),
        ):
            file = tmp_path / name
            frame = b"-----%b CERTIFICATE-----\n"
            file.write_bytes(frame % b"BEGIN" + content + b"\n" + frame % b"END")
            yield name, file

    assert expiries(files()) == {}


@given(st.binary(max_size=200))
def test_invalid_bytes_are_refused(der: bytes) -> None:
    """Any bytes that are not a certificate raise one kind of error."""
    with pytest.raises(ValueError, match=r"."):
        expiry(der)


@given(st.data())
def test_damaged_certificate_is_handled(authority: OpensslAuthority, data: st.DataObject) -> None:
    """With one byte changed it has a date or is refused."""
    der = bytearray(ssl.PEM_cert_to_DER_cert(authority.file.read_text()))
    at = data.draw(st.integers(0, len(der) - 1))
    der[at] = data.draw(st.integers(0, 255))
    try:
        found = expiry(bytes(der))
    except ValueError:
        return
    assert isinstance(found, float)
