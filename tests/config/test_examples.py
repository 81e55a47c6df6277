"""Every setting, given wrong in the file, the environment and a flag; and its example."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from proxy.config import loader
from proxy.config.examples import example_of, known_paths
from proxy.config.explain import _FILE_ONLY, _HAS_EXAMPLE, _NEVER_SHOWN, FLAGS, variable_of
from proxy.config.listener_settings import ListenerSettings
from proxy.config.login_settings import LoginSettings
from proxy.errors import ConfigError

Place = tuple[str, ...]

BASE: Mapping[str, Any] = {
    "base_url": "https://bank.example",
    "institution_id": "00016",
    "client_id": "id",
    "client_secret_file": "/run/secrets/client-secret",
}
WRONG = ("?", "-1", "\x01", "://", "ä ä", "")
"""Values of which at least one is wrong for a setting, unless every text is right."""

WITHIN = {"listeners": ("kiosk", ListenerSettings), "institutions": ("00017", LoginSettings)}
PLACES = sorted(known_paths() - {("listeners",), ("institutions",)}) + sorted(
    (section, name, *path)
    for section, (name, model) in WITHIN.items()
    for path in known_paths(model)
)
EVERY_TEXT_IS_RIGHT = {
    *("access.allow", "access.deny", "headers.customer_id_paths", "replay.paths", "routes"),
    *("scopes", "host_user_id", "login_id", "member_number", "username"),
    "token.assertion_audience",
    *("callers.client_names", "callers.secret_files", "upstream.proxy_user"),
}
"""Settings without a wrong text; some of them have no variable and must be lists."""


def nested(place: Place, value: object) -> dict[str, Any]:
    """Return a setting as it is nested in the file."""
    for name in reversed(place):
        value = {name: value}
    assert isinstance(value, dict)
    return value


def errors_of(
    place: Place, value: object, folder: Path, source: str = "file", **more: object
) -> list[str]:
    """Return the errors with one value from this source, beside those of ``BASE``."""
    file, written = folder / "proxy.yaml", {**BASE, **more}
    environ: dict[str, str] = {}
    flags: dict[str, Any] = {}
    if source == "file":
        loader._override(written, nested(place, value))
    elif source == "variable":
        environ[variable_of(place)] = str(value)
    else:
        flags = nested(place, value)
    file.write_text(yaml.safe_dump(written))
    try:
        loader.load(file, environ, flags)
    except ConfigError as error:
        return error.errors
    return []


def own(place: Place) -> str:
    """Return the name of a setting outside of listeners and institutions."""
    return ".".join(place[2:] if place[0] in WITHIN else place)


def wrong_value(place: Place, folder: Path, source: str) -> tuple[str, str] | None:
    """Return a value that is wrong for a setting and the error, if there is one."""
    prefix = ".".join(place)
    for value in WRONG[:1] if place[-1].endswith("_file") else WRONG:
        for line in errors_of(place, value, folder, source):
            if line.startswith((f"{prefix}: ", f"{prefix}.0: ")) and " needs " not in line:
                return value, line
    return None


@pytest.mark.parametrize("place", PLACES, ids=".".join)
def test_wrong_value_is_explained(place: Place, tmp_path: Path) -> None:
    """By key, variable and flag, what was given unless it may be secret, and an example."""
    name = own(place)
    has_variable = place[0] not in WITHIN and name not in _FILE_ONLY
    flag = name.replace("_", "-").replace(".", "-")
    sources = ["file", *(["variable"] if has_variable else [])]
    sources += ["flag"] if has_variable and name.replace(".", "_") in FLAGS else []
    for source in sources:
        if source == "file" and place[-1] in ("client_secret", "password", "bearer_token"):
            (line, *_) = errors_of(place, "hush", tmp_path)
            assert ".".join(place) in line
            assert "must not be in this file" in line
            assert "hush" not in line
            continue
        found = wrong_value(place, tmp_path, source)
        if found is None:
            assert name in EVERY_TEXT_IS_RIGHT or name.endswith("_file")
            continue
        value, line = found
        assert any(mark in line for mark in _HAS_EXAMPLE), line
        is_shown = value.isprintable() and value and not _NEVER_SHOWN & set(place)
        assert (f'got "{value}"' in line) == bool(is_shown), line
        if has_variable:
            assert variable_of(place) in line
        if name.replace(".", "_") in FLAGS and has_variable:
            assert f"--{flag})" in line


@pytest.mark.parametrize("place", PLACES, ids=".".join)
def test_example_is_right(place: Place, tmp_path: Path) -> None:
    """For every setting, so that it can be copied."""
    example = example_of(tuple(own(place).split(".")))
    if own(place) in ("relaxed_query_chars", "access", "callers", "cors"):
        return  # empty by default, and sections
    assert example
    if "'s " in example:
        return  # words in the place of a secret
    value = yaml.safe_load(example) if example[:1] in "[{" else example
    reported = [
        line for line in errors_of(place, value, tmp_path) if f"{'.'.join(place)}: expected" in line
    ]
    assert reported == []


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"store": {"ca_file": "/ca.pem"}},
            (
                "store.ca_file: needs store.url, such as store.url: rediss://redis.example:6379 "
                "(CANDESCENT_STORE__CA_FILE)"
            ),
        ),
        (
            {"client_secret_file": ""},
            (
                "client_secret: set either client_secret or client_secret_file, such as "
                "client_secret_file: /run/secrets/client-secret (CANDESCENT_CLIENT_SECRET, "
                "CANDESCENT_CLIENT_SECRET_FILE)"
            ),
        ),
        (
            {"base_url": ""},
            (
                "environment: set either environment or base_url, such as environment: stage "
                "(CANDESCENT_ENVIRONMENT, CANDESCENT_BASE_URL, --base-url)"
            ),
        ),
        (
            {"base_url": "htps://bank.example/digitalbanking"},
            (
                "base_url: expected http://HOST[:PORT][/PATH] or https://…, such as "
                "https://api.candescent.com/digitalbanking/stage; got "
                '"htps://bank.example/digitalbanking" (CANDESCENT_BASE_URL, --base-url)'
            ),
        ),
        (
            {"limits": {"max_head": "2MiB"}},
            (
                'limits.max_head: must be at most 1MiB, such as 64KiB; got "2MiB" '
                "(CANDESCENT_LIMITS__MAX_HEAD)"
            ),
        ),
        (
            {"upstream": {"stream_idle": "-5s"}},
            (
                "upstream.stream_idle: expected a duration, such as 5s, 500ms or 2m; "
                'got "-5s" (CANDESCENT_UPSTREAM__STREAM_IDLE)'
            ),
        ),
    ],
)
def test_sentences(settings: dict[str, Any], message: str, tmp_path: Path) -> None:
    """Errors in one setting, and in what one needs from another."""
    assert errors_of((*settings,), settings[(*settings,)[0]], tmp_path) == [message]
