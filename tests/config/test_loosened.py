"""What a changed configuration permits that the one before refused."""

from typing import Any

import pytest

from proxy.config.loader import load
from proxy.config.loosened import loosened
from proxy.config.model import Config

FILES = {"certificate_file": "/c", "client_ca_file": "/ca"}
BRANCH = {"base_url": "https://branch.example", "client_id": "a", "client_secret": "b"}
OWN = {"institutions": {"00018": BRANCH}}
KIOSK = {"listen": "127.0.0.1:8099"}


def config(**settings: Any) -> Config:
    """Return a configuration with these settings."""
    base = {"base_url": "https://bank.example", "institution_id": "00016", "client_id": "id"}
    return load(None, {}, {**base, "client_secret": "secret", **settings})


@pytest.mark.parametrize(
    ("strict", "loose", "sentence"),
    [
        ({}, {"trust_network": "true"}, "trust_network: is now true"),
        ({}, {"base_url": "http://127.0.0.1:1"}, "base_url: no longer encrypted"),
        (
            OWN,
            {"institutions": {"00018": {**BRANCH, "base_url": "http://127.0.0.1:1"}}},
            "institutions.00018.base_url: no longer encrypted",
        ),
        ({}, {"allowed_institutions": ["00017"]}, "allowed_institutions: now permits 00017"),
        (
            {},
            {"institutions": {"00018": {"client_id": "a", "client_secret": "b"}}},
            "allowed_institutions: now permits 00018",
        ),
        ({}, {"relaxed_query_chars": "{}"}, "relaxed_query_chars: now permits {, }"),
        ({}, {"replay": {"paths": ["/a"]}}, "replay.paths: now permits /a"),
        (
            {},
            {"cors": {"allow_origins": ["https://a.example"]}},
            "cors.allow_origins: now permits https://a.example",
        ),
        (
            {"access": {"deny": [{"path": "/a", "methods": "PUT"}, "/b"]}},
            {"access": {"deny": ["/b"]}},
            "access.deny: no longer refuses PUT /a",
        ),
        ({"access": {"deny": ["/b"]}}, {}, "access.deny: no longer refuses /b"),
        (
            {"access": {"allow": ["/b"]}},
            {"access": {"allow": ["/b", "/c"]}},
            "access.allow: now permits /c",
        ),
        (
            {"access": {"allow": ["/b"]}},
            {},
            "access.allow: no longer set, so everything is permitted",
        ),
        ({}, {"access": {"mode": "warn"}}, "access.mode: refuses nothing any more"),
        (
            {"callers": {"secret_files": ["/s"]}},
            {"callers": {"secret_files": ["/s", "/t"]}},
            "callers.secret_files: now permits /t",
        ),
        (
            {"callers": {"secret_files": ["/s"]}},
            {},
            "callers.secret_files: no longer set, so everything is permitted",
        ),
        (
            {"callers": {**FILES, "client_names": ["a"]}},
            {"callers": {**FILES, "client_names": ["a", "b"]}},
            "callers.client_names: now permits b",
        ),
        (
            {"callers": FILES},
            {"callers": {"certificate_file": "/c"}},
            "callers.client_ca_file: no longer set",
        ),
        (
            {"listeners": {"kiosk": {**KIOSK, "access": {"deny": ["/b"]}}}},
            {"listeners": {"kiosk": {**KIOSK, "access": {}}}},
            "listeners.kiosk.access.deny: no longer refuses /b",
        ),
    ],
)
def test_each_setting_is_named(
    strict: dict[str, Any], loose: dict[str, Any], sentence: str
) -> None:
    """In one direction only, and not where nothing has changed."""
    before, after = config(**strict), config(**loose)
    assert [*loosened(before, after)] == [sentence]
    assert [*loosened(after, before)] == []
    assert [*loosened(before, before)] == []


@pytest.mark.parametrize(
    ("section", "settings", "sentence"),
    [
        (
            "upstream",
            ({"ca_file": "/a"}, {"ca_file": "/b"}),
            "upstream.ca_file, upstream.system_store: other authorities are trusted",
        ),
        (
            "callers",
            (FILES, {**FILES, "client_ca_file": "/b"}),
            "callers.client_ca_file: other authorities are trusted",
        ),
    ],
)
def test_replaced_authority_is_named(
    section: str, settings: tuple[dict[str, str], dict[str, str]], sentence: str
) -> None:
    """In both directions, as neither is known to be stricter."""
    before, after = (config(**{section: one}) for one in settings)
    assert [*loosened(before, after)] == [*loosened(after, before)] == [sentence]


def test_authorities_of_an_institution_are_named() -> None:
    """Those of its own address."""
    other = {"institutions": {"00018": {**BRANCH, "upstream": {"system_store": True}}}}
    (sentence,) = loosened(config(**OWN), config(**other))
    assert sentence.startswith("institutions.00018.upstream.ca_file, ")
