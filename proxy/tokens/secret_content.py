"""What is wrong with the content of a secret file, said without the content."""

import binascii
import re
from base64 import b64decode
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE
from dataclasses import dataclass

_BYTE_ORDER_MARKS = (BOM_UTF8, BOM_UTF16_LE, BOM_UTF16_BE)
_NAMED = re.compile(
    r"""(?i)\s{0,9}(export\s{1,9}|\{.{0,60})?["']?(candescent_)?"""
    r"""(client[_ -]?(secret|id)|(secret|shared)[_ -]?key)["']?\s{0,9}[=:]"""
)
"""A setting, variable or name of the vendor's console before the secret."""

_MIN_DECODED = 8
"""Bytes. One secret of this length in 3,000 is by chance base64 of printable text."""


@dataclass(frozen=True, slots=True)
class SecretProblem:
    """One kind of wrong content: its stable name, what it is, and the fix.

    ``is_doubt``: it may belong to the secret, which is used as it is.
    """

    name: str
    text: str
    fix: str
    is_doubt: bool = False


EMPTY = SecretProblem("secret-empty", "is empty", "Write the secret into it.")
BYTE_ORDER_MARK = SecretProblem(
    "secret-byte-order-mark",
    "begins with a byte-order mark",
    "Save it as ASCII without one; in PowerShell with Set-Content -Encoding ascii.",
)
LINES = SecretProblem(
    "secret-lines", "has more than one line", "Keep only the line with the secret."
)
NOT_ASCII = SecretProblem(
    "secret-not-ascii",
    "is not one line of printable ASCII",
    "Copy the secret again from the vendor's console.",
)
NAMED = SecretProblem(
    "secret-named",
    "has a name before the secret, as a file of settings does",
    "Keep only the secret: what follows the = or the colon.",
)
QUOTED = SecretProblem(
    "secret-quoted",
    "is in quotes, which are sent as part of the secret",
    "Remove the quotes, unless they belong to the secret.",
    is_doubt=True,
)
WRAPPED = SecretProblem(
    "secret-wrapped",
    "begins or ends with a space, a tab or a quote, which is sent as part of the secret",
    "Remove it, unless it belongs to the secret.",
    is_doubt=True,
)
BASE64 = SecretProblem(
    "secret-base64",
    "looks like base64 of a secret, and is sent as it is",
    "Write the decoded secret into it (base64 -d), unless the bank gave it in this form.",
    is_doubt=True,
)

PROBLEMS = (EMPTY, BYTE_ORDER_MARK, LINES, NOT_ASCII, NAMED, QUOTED, WRAPPED, BASE64)


def secret_problem(raw: bytes) -> SecretProblem | None:
    """Return what is wrong with the content of a secret file, or None."""
    text = raw.decode("latin-1").strip("\r\n")
    if raw.startswith(_BYTE_ORDER_MARKS):
        return BYTE_ORDER_MARK
    if not text:
        return EMPTY
    if len(text.splitlines()) > 1:
        return LINES
    if not (text.isascii() and text.isprintable()):
        return NOT_ASCII
    return NAMED if _NAMED.match(text) else _doubt(text)


def _doubt(text: str) -> SecretProblem | None:
    """Return what is unusual in a secret."""
    first, last = text[0], text[-1]
    if len(text) > 1 and first == last and first in "\"'`":
        return QUOTED
    if first in " \t\"'" or last in " \t\"'":
        return WRAPPED
    try:
        decoded = b64decode(text, validate=True).strip()
    except (binascii.Error, ValueError):
        return None
    is_text = decoded.isascii() and decoded.decode("ascii", "replace").isprintable()
    return BASE64 if is_text and len(decoded) >= _MIN_DECODED else None
