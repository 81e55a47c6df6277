"""Files with secrets: which ones other users can read or change, and doubtful content."""

import os
import stat
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from proxy.config.model import Config
from proxy.tokens.secret_content import secret_problem

_SECRETS = (
    *("client_id_file", "client_secret_file", "password_file"),
    *("proxy_password_file", "sentinel_password_file"),
)
_KEYS = (
    "certificate_file",
    "key_file",
    "client_key_file",
    "encryption_key_file",
    "refresh_token_file",
)
_NO_PEM = ("encryption_key_file", "refresh_token_file")


def warnings(config: Config) -> Iterator[str]:
    """Yield a sentence for each secret that others can read or change, or that is doubtful."""
    yield from _content_warnings(config)
    files = [pair for pair in secret_files(config) if not pair[0].endswith("client_id_file")]
    files += (pair for pair in key_files(config) if is_secret(*pair))
    for setting, file in files:
        try:
            status, folder = file.stat(), file.absolute().parent
            folder_mode = folder.stat().st_mode
        except OSError:
            continue  # an error elsewhere, if the file is needed
        if is_open_folder(folder_mode):
            yield (
                f"{setting}: other users can replace {file}, because everyone can write to "
                f"its folder (mode {stat.S_IMODE(folder_mode):o}); run chmod o-w {folder}"
            )
        mode = stat.S_IMODE(status.st_mode)
        if is_exposed(mode, is_own=_is_own(status.st_uid)):
            yield (
                f"{setting}: other users can read or change {file} (mode {mode:o}); "
                "give it mode 600, and replace the secret if others use this machine"
            )


def _content_warnings(config: Config) -> Iterator[str]:
    for setting, file in secret_files(config):
        with suppress(OSError):  # an error elsewhere
            doubt = secret_problem(file.read_bytes())
            if doubt is not None and doubt.is_doubt:
                yield f"{setting}: {file} {doubt.text}. {doubt.fix}"
    for institution, login in config.logins():
        if login.client_secret is None:
            continue
        doubt = secret_problem(login.client_secret.get_secret_value().encode("ascii"))
        if doubt is not None:
            path = "" if login is config else f"institutions.{institution}."
            yield f"{path}client_secret: {doubt.text}. {doubt.fix}"


def secret_files(config: Config) -> Iterator[tuple[str, Path]]:
    """Return every file that holds a secret in a line, with the setting that names it."""
    sections: list[tuple[str, object]] = [
        *((f"{origin.path}upstream.", origin.upstream) for origin in config.origins),
        ("store.", config.store),
    ]
    for path, section in (*sections, *config.login_sections()):
        yield from _named(path, section, _SECRETS)
    for path, callers in config.caller_sections():
        for at, file in enumerate(callers.secret_files):
            yield f"{path}callers.secret_files.{at}", file


def key_files(config: Config) -> Iterator[tuple[str, Path]]:
    """Return every file that may hold a key or a login, with the setting that names it."""
    sections: list[tuple[str, object]] = [
        *((f"{origin.path}upstream.", origin.upstream) for origin in config.origins),
        ("store.", config.store),
    ]
    sections += [(f"{path}callers.", callers) for path, callers in config.caller_sections()]
    for path, section in (*sections, *config.login_sections()):
        yield from _named(path, section, _KEYS)


def is_secret(setting: str, file: Path) -> bool:
    """Whether one of ``key_files`` holds a key or a login, and not only certificates."""
    try:
        return setting.endswith(_NO_PEM) or b"PRIVATE KEY" in file.read_bytes()
    except OSError:
        return False


def is_exposed(mode: int, *, is_own: bool = False) -> bool:
    """Whether a file of this mode can be read by others, or changed by its group.

    A file of this process's own user (``is_own``) need not be readable for its group either; one
    of another user, as Kubernetes mounts it, is read by the group.
    """
    # Windows has no such bits, and returns the same mode for every file.
    exposed = stat.S_IRWXO | (stat.S_IRWXG if is_own else stat.S_IWGRP)
    return sys.platform != "win32" and bool(mode & exposed)


def is_open_folder(mode: int) -> bool:
    """Whether other users can replace the files in a folder of this mode.

    Not with the sticky bit, which only lets them add files (``/tmp``, mounts of Kubernetes).
    """
    return sys.platform != "win32" and mode & (stat.S_IWOTH | stat.S_ISVTX) == stat.S_IWOTH


def _is_own(owner: int) -> bool:
    return sys.platform != "win32" and owner == os.geteuid()


def _named(path: str, section: object, names: tuple[str, ...]) -> Iterator[tuple[str, Path]]:
    for name in names:
        file = getattr(section, name, None)
        if file is not None:
            yield path + name, file
