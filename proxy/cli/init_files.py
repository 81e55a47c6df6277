"""The files that ``candescent-proxy init`` writes: a commented configuration and secret files."""

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from proxy.config.model import ADMIN, LISTEN
from proxy.tokens.secret_files import back_up, private_folder, write_private

CONFIGURATION, CLIENT_ID, CLIENT_SECRET = "proxy.yaml", "client-id", "client-secret"
FILES = (CLIENT_ID, CLIENT_SECRET, CONFIGURATION)
"""The configuration is last, so that the files it names exist when it does."""

_TEXT = """\
# Configuration of candescent-proxy, written by `candescent-proxy init`. Every setting:
#   candescent-proxy check-config --print-schema
# Changes are verified, then used without a restart.

# The bank's API: environment (stage or production), or base_url for any other.
{place}

# The institution that calls are for; leading zeros matter.
institution_id: {institution}

# Shared Key and Secret Key, each in a file that only you can read.
client_id_file: {client_id_file}
client_secret_file: {client_secret_file}

# Addresses: for applications; for probes, metrics and the status page.
listen: {listen}
admin: {admin}

{v1}
# The default retail user, for calls that name no user:
# host_user_id: 880017

# Further institutions that applications may ask for, by the header institutionId:
# allowed_institutions: [00017, 00018]

# An outbound HTTP proxy (environment: the one in HTTPS_PROXY), and its authority if it inspects
# TLS:
{upstream}
"""
_V1 = """\
# Fetch V1 tokens, for paths below /fis/, before the first request too, not only V2 tokens.
token:
  prefetch: [v2, v1]
"""


@dataclass(frozen=True, slots=True)
class InitOptions:
    """The answers to the questions of ``init``. ``environment`` or ``base_url`` is empty."""

    client_id: str = field(repr=False)
    client_secret: str = field(repr=False)
    institution: str
    environment: str = ""
    base_url: str = ""
    v1: bool = False
    proxy: str = ""
    ca_file: str = ""
    listen: str = LISTEN
    admin: str = ADMIN

    @property
    def upstream(self) -> dict[str, str]:
        """Return the settings of the section ``upstream``."""
        # Absolute, because the configuration is in another folder than the working directory.
        ca_file = str(Path(self.ca_file).expanduser().absolute()) if self.ca_file else ""
        settings = {"proxy": self.proxy, "ca_file": ca_file}
        return {name: value for name, value in settings.items() if value}

    def settings(self) -> dict[str, Any]:
        """Return the settings, with the secrets themselves instead of their files."""
        place = {"environment": self.environment} if self.environment else {}
        return {
            **(place or {"base_url": self.base_url}),
            "institution_id": self.institution,
            "client_id": self.client_id,
            "client_secret": self.client_secret,
            "listen": self.listen,
            "admin": self.admin,
            "upstream": self.upstream,
            "token": {"prefetch": ["v2", "v1"] if self.v1 else ["v2"]},
        }


def configuration(answers: InitOptions, folder: Path) -> str:
    """Return the text of the configuration, for secret files in ``folder``."""
    name = "environment" if answers.environment else "base_url"
    return _TEXT.format(
        place=f"{name}: {_scalar(answers.environment or answers.base_url)}",
        institution=answers.institution,
        client_id_file=_scalar(str(folder / CLIENT_ID)),
        client_secret_file=_scalar(str(folder / CLIENT_SECRET)),
        listen=_scalar(answers.listen),
        admin=_scalar(answers.admin),
        v1=_V1 if answers.v1 else "",
        upstream=_upstream(answers.upstream),
    ).replace("\n\n\n", "\n\n")


def _upstream(given: dict[str, str]) -> str:
    if given:
        lines = [f"  {name}: {_scalar(value)}" for name, value in given.items()]
        return "\n".join(["upstream:", *lines])
    return "# upstream:\n#   proxy: http://proxy.example:3128\n#   ca_file: /etc/ssl/company.pem"


def _scalar(text: str) -> str:
    """Return a text as a YAML scalar: plain if that is safe, else quoted as in JSON."""
    return text if re.fullmatch(r"[A-Za-z0-9/][A-Za-z0-9/._:~+-]*", text) else json.dumps(text)


def existing_files(folder: Path) -> list[Path]:
    """Return those of the files that exist already."""
    return [folder / name for name in FILES if (folder / name).exists()]


def write(answers: InitOptions, folder: Path) -> list[Path]:
    """Write all files into ``folder``; return backups of existing ones.

    Each file is written atomically and readable for its owner only. Raises ``OSError``.
    """
    folder = folder.absolute()
    if not folder.exists():
        private_folder(folder)
        write_private(folder / ".gitignore", "*\n")
    backups = []
    for name, content in (
        (CLIENT_ID, answers.client_id + "\n"),
        (CLIENT_SECRET, answers.client_secret + "\n"),
        (CONFIGURATION, configuration(answers, folder)),
    ):
        file = folder / name
        if not (file.exists() and file.read_bytes() == content.encode()):
            backups.append(back_up(file))
            write_private(file, content)
    return [copy for copy in backups if copy is not None]
