"""Sealing keys for tests."""

from base64 import b64encode
from pathlib import Path


def key_line(key_id: str = "k1", secret: str = "moss") -> str:
    """Return a line of a key file; different secrets make different keys."""
    return f"{key_id} {b64encode((secret * 32).encode()[:32]).decode()}"


def write_key(file: Path, *lines: str) -> Path:
    """Write a file with these lines, or with one; return it."""
    file.write_text("".join(line + "\n" for line in lines or (key_line(),)))
    return file
