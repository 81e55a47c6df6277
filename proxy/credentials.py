"""Secret files, read into memory. A secret stands in a file, or for development in a variable."""

from pathlib import Path

from proxy.errors import ConfigError

MAX_SECRET = 65_536
"""Bytes; a secret file larger than this is some other file."""


def read_secret(path: Path, setting: str) -> str:
    """Return the text of a secret file without the line end that editors leave.

    Raises ``ConfigError`` that names the setting, never the content.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise ConfigError([f"{setting}: {path} cannot be read ({error.strerror})"]) from error
    try:
        text = raw.decode("ascii").strip("\r\n")
    except UnicodeDecodeError:
        text = None
    if text == "":
        raise ConfigError([f"{setting}: {path} is empty; write the secret into it"])
    if text is None or len(raw) > MAX_SECRET or not text.isprintable():
        raise ConfigError([f"{setting}: {path} does not hold one line of printable ASCII"])
    return text
