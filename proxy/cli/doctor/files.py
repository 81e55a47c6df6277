"""Checks of files: configuration, secrets, certificates, and their permissions."""

import os
import stat
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from proxy.cli.doctor import remedies
from proxy.cli.doctor.results import CheckResult, ok, problem
from proxy.config.model import Config
from proxy.errors import ConfigError
from proxy.forwarding import authentication
from proxy.runtime import build, certificate_expiry
from proxy.runtime.exposed_files import is_exposed, is_secret, secret_files
from proxy.tokens.secret_content import secret_problem
from proxy.tokens.secret_files import MAX_SECRET

EXPIRY_WARNING = 14 * 86_400.0
"""Seconds; a certificate that expires sooner gives a warning."""


def configuration_file(file: Path) -> Iterator[CheckResult]:
    """Check that only its owner may change the configuration file."""
    if sys.platform != "win32" and file.stat().st_mode & (stat.S_IWOTH | stat.S_IWGRP):
        yield problem("files", remedies.CONFIG_WRITABLE, file=file)


def secret_file(setting: str, file: Path) -> Iterator[CheckResult]:
    """Check one secret file: its content and its permissions."""
    try:
        with file.open("rb") as stream:
            raw = stream.read(MAX_SECRET + 1)
            mode = stat.S_IMODE(os.fstat(stream.fileno()).st_mode)
    except FileNotFoundError:
        yield problem("files", remedies.SECRET_MISSING, setting=setting, file=file)
        return
    except OSError as error:
        yield problem(
            "files", remedies.SECRET_UNREADABLE, setting=setting, file=file, why=error.strerror
        )
        return
    if content := secret_problem(raw):
        yield problem("files", remedies.SECRET_CONTENT[content], setting=setting, file=file)
    if is_exposed(mode):
        yield problem(
            "files", remedies.SECRET_EXPOSED, setting=setting, file=file, mode=f"{mode:o}"
        )
    elif not content:
        yield ok("files", f"{setting}: {file} contains one line and is readable by its owner only.")


def key_file(setting: str, file: Path) -> Iterator[CheckResult]:
    """Check that others cannot read a key. ``other_files`` reports unreadable files."""
    try:
        mode = stat.S_IMODE(file.stat().st_mode)
    except OSError:
        return
    if is_secret(setting, file) and is_exposed(mode):
        yield problem(
            "files", remedies.SECRET_EXPOSED, setting=setting, file=file, mode=f"{mode:o}"
        )


def login_file(config: Config) -> Iterator[CheckResult]:
    """Check that the folder of each ``refresh_token_file`` is writable."""
    for path, file in config.refresh_token_files():
        folder = file.absolute().parent
        if not os.access(folder, os.W_OK | os.X_OK):
            setting = f"{path}refresh_token_file"
            yield problem("files", remedies.LOGIN_FOLDER, setting=setting, folder=folder)


def file_errors(config: Config) -> list[str]:
    """Read every configured file except the logins' secrets; return the errors."""
    reads: list[Callable[[], object]] = [
        *(partial(build.upstream_tls, origin) for origin in config.origins),
        *(partial(build.outbound_proxy, origin) for origin in config.origins),
        lambda: build.tracing(config, lambda: config.url),
        lambda: build.check_store(config),
        lambda: build.refresh_tokens(config),
    ]
    for path, callers in config.caller_sections():
        reads.append(partial(authentication.CallerAuthentication.load, callers, path))
        reads.append(partial(authentication.server_context, callers, path))
    errors: list[str] = []
    for read in reads:
        try:
            read()
        except ConfigError as error:
            errors += error.errors
    return errors


def other_files(config: Config) -> Iterator[CheckResult]:
    """Check certificates and keys. ``secret_file`` checks secret files."""
    secrets = {setting for setting, _ in secret_files(config)}
    for error in file_errors(config):
        if error.partition(": ")[0] not in secrets:
            yield problem("files", remedies.FILE_UNUSABLE, error=error.rstrip("."))


def own_certificates(config: Config, now: float) -> Iterator[CheckResult]:
    """Check when the proxy's own certificates expire; ``now`` is in Unix seconds."""
    certificates = {
        f"{origin.path}upstream.certificate_file": origin.upstream.certificate_file
        for origin in config.origins
    }
    for path, callers in config.caller_sections():
        certificates[f"{path}callers.certificate_file"] = callers.certificate_file
    files = {setting: file for setting, file in certificates.items() if file is not None}
    for setting, until in certificate_expiry.expiries(files.items()).items():
        values = {"setting": setting, "file": files[setting], "until": day(until)}
        if until <= now:
            yield problem("files", remedies.CERTIFICATE_EXPIRED, **values)
        elif until - now < EXPIRY_WARNING:
            yield problem("files", remedies.CERTIFICATE_EXPIRING, **values)
        else:
            yield ok("files", f"{setting}: {files[setting]} is valid until {day(until)}.")


def day(timestamp: float) -> str:
    """Return the UTC date of a time in Unix seconds."""
    return datetime.fromtimestamp(timestamp, UTC).strftime("%Y-%m-%d")
