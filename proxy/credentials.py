"""Secret files, read into memory. A secret stands in a file, or for development in a variable."""

from dataclasses import dataclass, field
from pathlib import Path

from proxy.errors import ConfigError
from proxy.tokens.grants import Login
from proxy.tokens.token import TokenKey

MAX_SECRET = 65_536
"""Bytes; a secret file larger than this is some other file."""


def read_secret(path: Path, setting: str) -> str:
    """Return the text of a secret file without the line end that editors leave.

    Raises ``ConfigError`` that names the setting, never the content.
    """
    raw = _read(path, setting)
    try:
        text = raw.decode("ascii").strip("\r\n")
    except UnicodeDecodeError:
        text = None
    if text == "":
        raise ConfigError([f"{setting}: {path} is empty; write the secret into it"])
    if text is None or len(raw) > MAX_SECRET or not text.isprintable():
        raise ConfigError([f"{setting}: {path} does not hold one line of printable ASCII"])
    return text


def read_lines(path: Path, setting: str) -> list[str]:
    """Return the lines of a file of secrets. Raises ``ConfigError`` as ``read_secret`` does."""
    raw = _read(path, setting)
    try:
        return raw.decode("ascii").splitlines()
    except UnicodeDecodeError:
        raise ConfigError([f"{setting}: {path} does not hold lines of ASCII"]) from None


def _read(path: Path, setting: str) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_SECRET + 1)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise ConfigError([f"{setting}: {path} cannot be read ({why})"]) from error


@dataclass(frozen=True, slots=True)
class Logins:
    """With what tokens are obtained: the default institution's login, and those of their own.

    An allowed institution without a login of its own is served with the default's credentials,
    but never as its user: a user belongs to one institution.
    """

    default: Login
    own: dict[str, Login] = field(default_factory=dict)
    default_institution: str = ""

    def for_key(self, key: TokenKey) -> Login:
        """Return the login for the tokens of ``key``."""
        if key.institution in self.own:
            return self.own[key.institution]
        if key.institution == self.default_institution:
            return self.default
        return Login(self.default.credentials, scopes=self.default.scopes)
