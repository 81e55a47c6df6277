"""``certificate``: HTTPS on this machine, with a local authority that applications trust."""

import argparse
import getpass
import shlex
import socket
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509

from proxy.cli.commands import OK
from proxy.cli.commands.common import report_failure
from proxy.cli.local_ca import (
    ALWAYS,
    MAX_DAYS,
    AuthorityError,
    LocalAuthority,
    certificate_pem,
    general_name,
    key_pem,
    names_in,
)
from proxy.tokens.secret_files import back_up, private_folder, write_atomically, write_private

AUTHORITY, KEY, SERVER = "authority.pem", "authority.key", "server.pem"

_TRUST = """\
Let applications trust the authority:
  Debian, Ubuntu  sudo cp {pem} /usr/local/share/ca-certificates/candescent-proxy.crt
                  sudo update-ca-certificates
  Fedora, RHEL    sudo trust anchor {pem}
  macOS           security add-trusted-cert -r trustRoot \\
                    -k ~/Library/Keychains/login.keychain-db {pem}
  Windows         certutil -user -addstore Root {pem}
  Java            keytool -importcert -noprompt -cacerts -storepass changeit \\
                    -alias candescent-proxy -file {pem}
  Node.js         export NODE_EXTRA_CA_CERTS={pem}
  Python          requests: export REQUESTS_CA_BUNDLE={pem}
                  ssl, aiohttp, httpx: export SSL_CERT_FILE={pem}
                  (both in place of the system's authorities)
  curl            curl --cacert {pem} https://localhost:8080/
"""

ABOUT = """\
Makes a local authority and a certificate, so that applications call this machine by HTTPS, and
says how they trust it.
"""
EXAMPLE = """\
  candescent-proxy certificate
  candescent-proxy certificate --renew
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add names, folder and validity."""
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"further names besides {', '.join(ALWAYS)}"
    )
    parser.add_argument(
        "--folder",
        type=Path,
        default=Path("candescent-proxy"),
        metavar="FOLDER",
        help="folder for the files (default ./candescent-proxy)",
    )
    parser.add_argument(
        "--renew", action="store_true", help="a new certificate from the same authority"
    )
    parser.add_argument(
        "--days", type=int, default=MAX_DAYS, help=f"validity in days, at most {MAX_DAYS} (default)"
    )
    parser.add_argument(
        "--force", action="store_true", help="a new authority; the old one is kept beside it"
    )


def run(arguments: argparse.Namespace) -> int:
    """Make authority and certificate, and print how to use them."""
    folder: Path = arguments.folder.absolute()
    now = datetime.now(UTC)
    if not 1 <= arguments.days <= MAX_DAYS:
        return report_failure(f"--days: expected 1 to {MAX_DAYS}; clients accept no more")
    try:
        if arguments.renew:
            renew(folder, arguments.names, now, arguments.days)
        else:
            make(folder, arguments.names, now, arguments.days, replace=arguments.force)
    except AuthorityError as error:
        return report_failure(str(error))
    except OSError as error:
        return report_failure(f"{error.filename or folder}: {error.strerror}")
    print(instructions(folder, is_new=not arguments.renew))
    return OK


def make(folder: Path, names: list[str], now: datetime, days: int, *, replace: bool) -> None:
    """Make an authority and a certificate in ``folder``.

    Raises ``AuthorityError`` and ``OSError``. Existing files are replaced only if ``replace``, and
    then backed up.
    """
    all_names = merged(ALWAYS, names)
    for name in all_names:
        general_name(name)
    files = [folder / name for name in (AUTHORITY, KEY, SERVER)]
    existing = next((file for file in files if file.exists()), None)
    if existing and not replace:
        raise AuthorityError(
            f"{existing} exists already; --renew makes a new certificate from it, --force a new "
            "authority"
        )
    private_folder(folder)
    for file in files:
        back_up(file)
    authority = LocalAuthority.make(all_names, owner(), now)
    write_private(folder / KEY, key_pem(authority.key))
    write_atomically(folder / AUTHORITY, certificate_pem(authority.certificate), 0o644)
    write_private(folder / SERVER, authority.issue(all_names, now, days))


def renew(folder: Path, names: list[str], now: datetime, days: int) -> None:
    """Make a new certificate for the old names and ``names``.

    Raises ``AuthorityError`` and ``OSError``.
    """
    authority = LocalAuthority.load((folder / AUTHORITY).read_bytes(), (folder / KEY).read_bytes())
    server = folder / SERVER
    old = names_in(server.read_bytes()) if server.exists() else ALWAYS
    write_private(server, authority.issue(merged(old, names), now, days))


def owner() -> str:
    """Return user and host, to identify the authority among others."""
    try:
        return f"{getpass.getuser()} on {socket.gethostname()}"
    except (KeyError, ImportError, OSError):  # a user without a name, as in a container
        return socket.gethostname()


def merged(first: "tuple[str, ...] | list[str]", more: list[str]) -> list[str]:
    """Return all names without duplicates."""
    return list(dict.fromkeys((*first, *(name.lower() for name in more))))


def instructions(folder: Path, *, is_new: bool) -> str:
    """Return the text after success: the files, and how to use them."""
    authority = x509.load_pem_x509_certificate((folder / AUTHORITY).read_bytes())
    server = x509.load_pem_x509_certificate((folder / SERVER).read_bytes())
    names = ", ".join(names_in((folder / SERVER).read_bytes()))
    until = f"{authority.not_valid_after_utc:%Y-%m-%d}"
    lines = [f"A certificate for {names}, valid until {server.not_valid_after_utc:%Y-%m-%d}."]
    if not is_new:
        lines.append("Its authority is the same; a running proxy reloads the certificate.")
        return "\n".join(lines)
    lines += [
        "",
        f"  {folder / SERVER}  certificate and key, for the proxy",
        f"  {folder / AUTHORITY}  what applications trust, until {until}, for these names only",
        f"  {folder / KEY}  its key: keep it secret",
        "",
        "In the configuration:",
        "  callers:",
        f"    certificate_file: {folder / SERVER}",
        "",
        _TRUST.format(pem=shlex.quote(str(folder / AUTHORITY))).rstrip(),
        "",
        "Before it expires: candescent-proxy certificate --renew"
        + ("" if folder.name == "candescent-proxy" else f" --folder {shlex.quote(str(folder))}"),
    ]
    return "\n".join(lines)
