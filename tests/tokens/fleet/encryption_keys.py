"""Encryption keys for tests."""

from base64 import b64encode
from pathlib import Path


def key_line(key_id: str = "k1", secret: str = "moss") -> str:
    """Return a line of a key file; the key is derived from ``secret``."""
    return f"{key_id} {b64encode((secret * 32).encode()[:32]).decode()}"


def write_key(file: Path, *lines: str) -> Path:
    """Write a key file with these lines, by default one; return its path."""
    file.write_text("".join(line + "\n" for line in lines or (key_line(),)))
    return file
