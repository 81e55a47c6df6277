"""Secret files: what counts as one, and that no mistake in one shows what it holds."""

from pathlib import Path

import pytest

from proxy.credentials import MAX_SECRET, Logins, read_secret
from proxy.errors import ConfigError
from proxy.tokens.grants import Credentials, Grant, Login
from proxy.tokens.token import TokenKey, TokenKind


def secret(path: Path, content: bytes) -> Path:
    """Return a file with this content."""
    file = path / "secret"
    file.write_bytes(content)
    return file


def complaint(path: Path) -> str:
    """Return what is said about a file that is no secret."""
    with pytest.raises(ConfigError) as caught:
        read_secret(path, "client_secret_file")
    (mistake,) = caught.value.mistakes
    return mistake


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"hush", "hush"),
        (b"hush\n", "hush"),
        (b"hush\r\n", "hush"),
        (b"\nhush\n\n", "hush"),
        (b"a b=c/+:~", "a b=c/+:~"),
        (b" hush ", " hush "),
        (b"x" * MAX_SECRET, "x" * MAX_SECRET),
    ],
)
def test_secret_without_the_line_end_of_an_editor(
    tmp_path: Path, content: bytes, text: str
) -> None:
    """One line of printable ASCII; only line ends around it are dropped."""
    assert read_secret(secret(tmp_path, content), "client_secret_file") == text


def test_secret_of_a_kubernetes_mount(tmp_path: Path) -> None:
    """A mounted Secret is a link to a link, and read through both."""
    (tmp_path / "..2026").mkdir()
    secret(tmp_path / "..2026", b"hush")
    (tmp_path / "..data").symlink_to("..2026")
    (tmp_path / "client-secret").symlink_to("..data/secret")
    assert read_secret(tmp_path / "client-secret", "client_secret_file") == "hush"


@pytest.mark.parametrize("content", [b"", b"\n", b"\r\n\r\n"])
def test_empty_file(tmp_path: Path, content: bytes) -> None:
    """An empty file is told as empty, with the setting, the path and what to do."""
    file = secret(tmp_path, content)
    assert complaint(file) == f"client_secret_file: {file} is empty; write the secret into it"


@pytest.mark.parametrize(
    "content",
    [
        b"hush\nhush\n",
        b"hush\x00",
        b"hush\x1b[0m",
        b"\x89PNG\r\n\x1a\n",
        b"h\xc3\xbcsh",
        b"\xef\xbb\xbfhush",
        b"h\x00u\x00s\x00h\x00",
        b"hu\tsh",
        b"x" * (MAX_SECRET + 1),
    ],
)
def test_file_that_holds_something_else(tmp_path: Path, content: bytes) -> None:
    """Two lines, binary, another encoding, far too much: refused, and nothing of it shown."""
    file = secret(tmp_path, content)
    assert complaint(file) == (
        f"client_secret_file: {file} does not hold one line of printable ASCII"
    )


def test_file_that_is_not_there(tmp_path: Path) -> None:
    """A missing file is told with the setting that names it."""
    assert complaint(tmp_path / "none") == (
        f"client_secret_file: {tmp_path / 'none'} cannot be read (No such file or directory)"
    )


def test_file_that_is_a_directory(tmp_path: Path) -> None:
    """A directory, which is what a wrong mount path makes, is told as one."""
    assert "Is a directory" in complaint(tmp_path)


def test_path_that_no_file_can_have() -> None:
    """A NUL in a path is a mistake like any other, not a traceback."""
    assert "cannot be read" in complaint(Path("a\0b"))


def test_endless_file_is_not_read_to_its_end() -> None:
    """A path that leads to something endless is refused as soon as it is too long."""
    assert "printable ASCII" in complaint(Path("/dev/zero"))


def test_credentials_show_no_secret() -> None:
    """Neither the repr of credentials nor that of what holds them has the secret in it."""
    login = Login(Credentials("my-id", "hush-1"), Grant.PASSWORD, "ann", "hush-2")
    held = Logins(login, {"00017": login}, "00016")
    for shown in (repr(held), str(held), repr(login), f"{login.credentials}"):
        assert "hush" not in shown
        assert "aHVzaC" not in shown  # nor its base64
        assert "my-id" in shown


def test_basic_is_the_pair_in_base64() -> None:
    """The ``Authorization`` value of a token call, from RFC 7617's own example."""
    assert Credentials("Aladdin", "open sesame").basic == "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="


def test_each_institution_has_its_own_login() -> None:
    """A login of its own wins; another institution has the default's client, not its user."""
    default = Login(Credentials("id", "x"), Grant.PASSWORD, "ann", "pass", scopes="accounts:read")
    own = Login(Credentials("other", "y"))
    held = Logins(default, {"00017": own}, "00016")
    logins = [held.for_key(TokenKey(TokenKind.V2, name)) for name in ("00016", "00017", "00018")]
    assert logins == [default, own, Login(default.credentials, scopes="accounts:read")]
