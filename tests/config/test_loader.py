"""Sources of a configuration, and its errors."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.config import loader
from proxy.config.explain import variables
from proxy.config.model import Config
from proxy.errors import ConfigError

LEAST = {
    "CANDESCENT_CLIENT_ID": "shared-key",
    "CANDESCENT_CLIENT_SECRET": "secret-key",
    "CANDESCENT_INSTITUTION_ID": "00016",
    "CANDESCENT_ENVIRONMENT": "stage",
}


def named(variables: Mapping[str, str] | None = None, **more: str) -> dict[str, str]:
    """Return the minimal environment with these variables, given without prefix."""
    return LEAST | {
        f"CANDESCENT_{name}": value for name, value in {**(variables or {}), **more}.items()
    }


def load(
    environ: Mapping[str, str] = LEAST,
    *,
    file: Path | None = None,
    flags: Mapping[str, Any] | None = None,
) -> Config:
    """Return the configuration of these sources."""
    return loader.load(file, environ, flags or {})


def errors_of(
    environ: Mapping[str, str] = LEAST,
    *,
    file: Path | None = None,
    flags: Mapping[str, Any] | None = None,
) -> list[str]:
    """Return the errors of these sources."""
    with pytest.raises(ConfigError) as caught:
        load(environ, file=file, flags=flags)
    return caught.value.errors


def yaml(path: Path, text: str) -> Path:
    """Return a settings file with this text."""
    file = path / "proxy.yaml"
    file.write_text(text, encoding="utf-8")
    return file


# Sources.


def test_minimal_environment() -> None:
    """The four variables of the vendor's SDK suffice."""
    config = load()
    assert config.url.geturl() == "https://api.candescent.com/digitalbanking/stage"
    assert (config.institution_id, config.client_id) == ("00016", "shared-key")
    assert (str(config.listen), str(config.admin)) == ("127.0.0.1:8080", "127.0.0.1:9090")


def test_later_sources_override_earlier_ones(tmp_path: Path) -> None:
    """Flags override variables, which override the file."""
    file = yaml(tmp_path, "listen: 127.0.0.1:1\nadmin: 127.0.0.1:2\ngrace_period: 3\n")
    config = load(
        named(LISTEN="127.0.0.1:5", ADMIN="127.0.0.1:6"),
        file=file,
        flags={"listen": "127.0.0.1:7"},
    )
    assert (str(config.listen), str(config.admin)) == ("127.0.0.1:7", "127.0.0.1:6")
    assert config.grace_period == 3


def test_sections_are_merged(tmp_path: Path) -> None:
    """A nested setting of one source keeps those of another."""
    file = yaml(tmp_path, "log:\n  level: error\n  access: off\n  format: json\n")
    config = load(named(LOG__ACCESS="on"), file=file, flags={"log": {"format": "console"}})
    assert (config.log.level, config.log.access, config.log.format) == ("error", "on", "console")


@pytest.mark.parametrize("variable", ["LOG_LEVEL", "LOG__LEVEL"])
def test_short_names_of_log_settings(variable: str) -> None:
    """They have a second name."""
    assert load(named({variable: "debug"})).log.level == "debug"


def test_two_underscores_name_a_nested_setting() -> None:
    """Every nested setting has a variable."""
    config = load(
        named(UPSTREAM__MAX_CONNECTIONS="7", TOKEN__IDLE="60", HEADERS__CORRELATION_ID="false")
    )
    assert (config.upstream.max_connections, config.token.idle) == (7, 60)
    assert config.headers.correlation_id is False


def test_every_setting_has_a_variable() -> None:
    """By its name."""
    names = variables()
    assert {"CANDESCENT_BASE_URL", "CANDESCENT_TOKEN__TIMEOUT"} <= set(names)
    assert all(name.startswith("CANDESCENT_") for name in names)


def test_empty_variable_is_ignored() -> None:
    """It counts as not set."""
    assert load(named(BASE_URL="", LISTEN="")) == load()


def test_other_variables_are_ignored() -> None:
    """Only the prefix counts."""
    assert load(LEAST | {"CLIENT_ID": "x", "candescent_listen": "x"}) == load()


@pytest.mark.parametrize(
    "variable",
    [
        "CONFIG",
        "PROXY_SERVICE_HOST",
        "PROXY_SERVICE_PORT",
        "PROXY_SERVICE_PORT_HTTP",
        "PROXY_PORT",
        "PROXY_PORT_8080_TCP",
        "PROXY_PORT_8080_TCP_ADDR",
        "PROXY_PORT_8080_UDP_PROTO",
        "SERVICE_HOST",
        "SERVICE_PORT_HTTP",
        "PORT",
        "PORT_8080_TCP_PORT",
        "PORT_9_SCTP_ADDR",
    ],
)
def test_service_variables_of_kubernetes_are_ignored(variable: str) -> None:
    """A Service named candescent-proxy adds them to every pod."""
    assert load(named({variable: "tcp://10.0.0.1:80"})) == load()


VENDOR = "ACCOUNT_ID CUSTOMER_ID SUBSCRIPTION_ID OIDC_CLIENT_ID MX_CLIENT_ID BB_LOGIN_ID ALERT_TYPE"


def test_variables_of_the_vendors_sdk_are_ignored() -> None:
    """Non-empty ones without a meaning are listed."""
    environ = named(dict.fromkeys(VENDOR.split(), "x"), ENVIRONMENT="sandbox")
    assert load(environ).url.geturl() == "https://api.sandbox.candescent.com"
    assert loader.ignored_variables(environ | {"CANDESCENT_MX_EMPTY": ""}) == sorted(
        f"CANDESCENT_{name}" for name in VENDOR.split()
    )
    assert loader.ignored_variables(LEAST) == []


@pytest.mark.parametrize(
    "variable", ["ACCOUNT_IDS", "CUSTOMER", "MX", "MX_", "ALERTS_X", "OIDC_CLIENT_SECRET", "BBX_Y"]
)
def test_similar_variables_are_errors(variable: str) -> None:
    """Only the vendor's own names are ignored."""
    assert errors_of(named({variable: "x"}))[0].startswith(
        f"CANDESCENT_{variable}: no such setting"
    )


def test_later_source_decides_between_alternatives(tmp_path: Path) -> None:
    """As a base URL in a variable over the file's ``environment``."""
    file = yaml(tmp_path, "environment: stage\nclient_id: other\nclient_secret_file: /mnt/secret\n")
    config = loader.load(
        file,
        {
            "CANDESCENT_BASE_URL": "http://127.0.0.1:1",
            "CANDESCENT_CLIENT_ID_FILE": "/mnt/id",
            "CANDESCENT_CLIENT_SECRET": "plain",
            "CANDESCENT_INSTITUTION_ID": "1",
        },
        {},
    )
    assert (config.environment, config.base_url) == (None, "http://127.0.0.1:1")
    assert (config.client_id, config.client_secret_file) == (None, None)


def test_base_url_flag_overrides_an_environment() -> None:
    """Even if variables name one."""
    assert load(flags={"base_url": "http://127.0.0.1:1"}).environment is None


# YAML.


@pytest.mark.parametrize("written", ["00016", "'00016'", '"00016"'])
def test_leading_zeros_are_kept(tmp_path: Path, written: str) -> None:
    """An institution is text in any notation."""
    environ = {key: value for key, value in LEAST.items() if "INSTITUTION" not in key}
    file = yaml(tmp_path, f"institution_id: {written}\n")
    assert load(environ, file=file).institution_id == "00016"


@given(st.from_regex(r"[0-9]{1,20}", fullmatch=True))
def test_digits_are_never_a_number(tmp_path_factory: pytest.TempPathFactory, digits: str) -> None:
    """Neither octal, sexagesimal nor float."""
    file = yaml(tmp_path_factory.getbasetemp(), f"institution_id: {digits}\n")
    assert loader.read_file(file) == {"institution_id": digits}


@pytest.mark.parametrize("word", ["off", "no", "1.0", "0x10", "1_000", "2026-01-01", "12:30:45"])
def test_words_are_text(tmp_path: Path, word: str) -> None:
    """No value is converted by YAML."""
    assert loader.read_file(yaml(tmp_path, f"listen: {word}\n")) == {"listen": word}


def test_empty_values_are_ignored(tmp_path: Path) -> None:
    """As of a key whose value is commented out."""
    file = yaml(tmp_path, "base_url:\nlisten: ~\nlog:\n  level: null\n  access: ''\n")
    config = load(file=file)
    assert (str(config.listen), config.log.level) == ("127.0.0.1:8080", "info")


@pytest.mark.parametrize("text", ["", "# nothing but a comment\n", "---\n", "{}\n"])
def test_empty_file_sets_nothing(tmp_path: Path, text: str) -> None:
    """Comments are allowed."""
    assert load(file=yaml(tmp_path, text)) == load()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("listen: a\nadmin: b\nlisten: c\n", "line 3: listen is set twice"),
        ("log:\n  level: info\n  level: debug\n", "line 3: level is set twice"),
        ("listen: [\n", "line 2: "),
        ("a:\n\tb: c\n", "line 2: "),
        ("- listen\n", "expected settings as `name: value`"),
        ("listen\n", "expected settings as `name: value`"),
        ("? [a, b]\n: c\n", "line 1: expected a plain name"),
        ("log: &log\n  level: *log\n", "line 1: "),
        ("[" * 2000, "is not YAML"),
    ],
)
def test_file_without_a_mapping_is_refused(tmp_path: Path, text: str, message: str) -> None:
    """One line says where; no setting is reported missing."""
    file = yaml(tmp_path, text)
    (mistake,) = errors_of({}, file=file)
    assert mistake.startswith(f"{file}: {message}")


def test_yaml_tags_are_refused(tmp_path: Path) -> None:
    """A tag creates no object."""
    file = yaml(tmp_path, "listen: !!python/object/apply:os.getcwd []\nadmin: !!int '1'\n")
    assert loader.read_file(file) == {"listen": [], "admin": "1"}


def test_unreadable_file_is_one_error(tmp_path: Path) -> None:
    """Missing, a directory, or not text."""
    binary = tmp_path / "binary"
    binary.write_bytes(b"listen: \xff\xfe")
    for path, why in (
        (tmp_path / "missing", "No such file or directory"),
        (tmp_path, "Is a directory"),
        (binary, "is not UTF-8 text"),
    ):
        (mistake,) = errors_of({}, file=path)
        assert mistake.startswith(f"{path}: ")
        assert why in mistake


def test_secret_in_the_file_is_refused(tmp_path: Path) -> None:
    """It is not quoted."""
    file = yaml(
        tmp_path,
        "client_secret: hush-1\npassword: hush-2\n"
        "institutions:\n  '00017':\n    client_id: a\n    client_secret: hush-3\n",
    )
    message = "\n".join(errors_of(file=file))
    for path in ("client_secret", "password", "institutions.00017.client_secret"):
        assert f"{file}: {path} must not be in this file" in message
        assert f"set {path}_file" in message
    assert "hush" not in message


# Errors.


def test_all_errors_are_reported_at_once(tmp_path: Path) -> None:
    """Unknown names, wrong values, missing and contradictory settings."""
    file = yaml(
        tmp_path,
        "lisen: 127.0.0.1:1\nenvironment: stage\nlog:\n  levle: info\n  sample: 2\n"
        "upstream:\n  max_connections: many\n",
    )
    message = errors_of(
        {"CANDESCENT_BASE_ULR": "x", "CANDESCENT_BASE_URL": "ftp://host"},
        file=file,
        flags={"listen": "0.0.0.0:80"},
    )
    starts = [mistake.partition(": ")[0] for mistake in message]
    assert sorted(starts) == [
        "CANDESCENT_BASE_ULR",
        "base_url",
        "client_id",
        "client_secret",
        "institution_id",
        "lisen",
        "listen",
        "log.levle",
        "log.sample",
        "upstream.max_connections",
    ]


def test_missing_settings_are_explained() -> None:
    """The four required ones, and how to set one."""
    message = errors_of({})
    assert message[0] == "there is no configuration yet; write one with: candescent-proxy init"
    assert [mistake.partition(":")[0] for mistake in message[1:]] == [
        "institution_id",
        "environment",
        "client_id",
        "client_secret",
    ]
    assert "CANDESCENT_INSTITUTION_ID" in message[1]


@pytest.mark.parametrize(
    ("variable", "meant"),
    [
        ("BASE_ULR", "CANDESCENT_BASE_URL"),
        ("CLIENTID", "CANDESCENT_CLIENT_ID"),
        ("TOKEN_TIMEOUT", "CANDESCENT_TOKEN__TIMEOUT"),
        ("LOGLEVEL", "CANDESCENT_LOG_LEVEL"),
    ],
)
def test_misspelt_variable_is_an_error(variable: str, meant: str) -> None:
    """With the probable name."""
    assert errors_of(named({variable: "x"})) == [
        f"CANDESCENT_{variable}: no such setting; did you mean {meant}?"
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lisen: x", "lisen: no such setting; did you mean listen?"),
        ("log:\n  levle: x", "log.levle: no such setting; did you mean log.level?"),
        ("token:\n  margin: 5", "token.margin: no such setting; did you mean token.margin_min?"),
        ("xyzzy: 1", "xyzzy: no such setting"),
    ],
)
def test_misspelt_key_is_an_error(tmp_path: Path, text: str, message: str) -> None:
    """With the probable name."""
    assert errors_of(file=yaml(tmp_path, text)) == [message]


def test_both_alternatives_are_refused() -> None:
    """In one source; the error names the pair."""
    assert errors_of(
        named(BASE_URL="http://127.0.0.1", CLIENT_ID_FILE="/a", CLIENT_SECRET_FILE="/b")
    ) == [
        "environment: set either environment or base_url, not both (CANDESCENT_ENVIRONMENT)",
        "client_id: set either client_id or client_id_file, not both (CANDESCENT_CLIENT_ID)",
        (
            "client_secret: set either client_secret or client_secret_file, not both "
            "(CANDESCENT_CLIENT_SECRET)"
        ),
    ]


def test_wrong_value_hides_no_other_error() -> None:
    """Contradictions are still found."""
    message = errors_of(named(GRACE_PERIOD="long", LISTEN="0.0.0.0:80"))
    assert [mistake.partition(":")[0] for mistake in message] == ["grace_period", "listen"]


def test_wrong_value_is_not_reported_missing() -> None:
    """A wrong base URL is one error."""
    environ = {key: value for key, value in LEAST.items() if "ENVIRONMENT" not in key}
    (mistake,) = errors_of(environ | {"CANDESCENT_BASE_URL": "ftp://host"})
    assert mistake.startswith("base_url: ")


def test_errors_show_no_secret() -> None:
    """Whatever is wrong."""
    message = errors_of(
        named(
            GRACE_PERIOD="x",
            BASE_URL="x",
            LISTEN="x",
            CLIENT_SECRET="hush-hush",
            CLIENT_ID_FILE="/",
        )
    )
    assert len(message) == 4
    assert "hush" not in "".join(message)


# Secrets.


def with_files(tmp_path: Path, client_id: bytes | None, secret: bytes | None) -> Config:
    """Return a configuration with credentials in files of this content."""
    for name, content in (("id", client_id), ("secret", secret)):
        if content is not None:
            (tmp_path / name).write_bytes(content)
    return loader.load(
        None,
        {
            "CANDESCENT_CLIENT_ID_FILE": str(tmp_path / "id"),
            "CANDESCENT_CLIENT_SECRET_FILE": str(tmp_path / "secret"),
            "CANDESCENT_INSTITUTION_ID": "00016",
            "CANDESCENT_ENVIRONMENT": "stage",
        },
        {},
    )


def test_secrets_from_files(tmp_path: Path) -> None:
    """Client id and secret."""
    found = loader.logins(with_files(tmp_path, b"my-id\n", b"my-secret\r\n"))
    assert found.default.credentials.client_id == "my-id"
    assert found.default.credentials.client_secret == "my-secret"


def test_secrets_from_variables() -> None:
    """For development."""
    found = loader.logins(load()).default.credentials
    assert (found.client_id, found.client_secret) == ("shared-key", "secret-key")


def test_all_wrong_secret_files_are_reported(tmp_path: Path) -> None:
    """With setting and path."""
    config = with_files(tmp_path, None, b"")
    with pytest.raises(ConfigError) as caught:
        loader.logins(config)
    assert [mistake.partition(" ")[0] for mistake in caught.value.errors] == [
        "client_id_file:",
        "client_secret_file:",
    ]
    assert all(str(tmp_path) in mistake for mistake in caught.value.errors)


def test_client_id_with_a_colon_is_refused(tmp_path: Path) -> None:
    """Without quoting it."""
    with pytest.raises(ConfigError) as caught:
        loader.logins(with_files(tmp_path, b"shared:key\n", b"secret:key"))
    (mistake,) = caught.value.errors
    assert mistake.startswith(f"client_id_file: {tmp_path}")
    assert "shared" not in mistake


# Addresses outside of the model.


def test_address_of_a_command() -> None:
    """The same rule, with its flag in the error."""
    assert str(loader.address("--listen", "[::1]:80")) == "[::1]:80"
    with pytest.raises(ConfigError) as caught:
        loader.address("--listen", "desk")
    assert caught.value.errors[0].startswith("--listen: expected HOST:PORT")


# Empty variables, and files.


def test_tab_is_explained(tmp_path: Path) -> None:
    """YAML indents with spaces."""
    file = yaml(tmp_path, "log:\n\tlevel: info\n")
    assert errors_of(file=file) == [f"{file}: line 2: has a tab; indent with spaces"]


@pytest.mark.parametrize("name", ["CLIENT_SECRET", "CLIENT_SECRET_FILE"])
def test_empty_variable_of_a_secret_is_reported(name: str) -> None:
    """As empty, not as missing."""
    environ = named() | {"CANDESCENT_CLIENT_SECRET": ""} | {f"CANDESCENT_{name}": " "}
    (line,) = errors_of(environ)
    assert f"CANDESCENT_{name} is set but empty" in line


def test_files_are_relative_to_the_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In variables to the working directory; ``~`` is the home."""
    (tmp_path / "etc").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    text = (
        "upstream: {ca_file: ca.pem}\ncallers: {secret_files: 'one, ~/two'}\n"
        "institutions: {'00017': {client_id: x, client_secret_file: ../secret}}\n"
    )
    environ = named(UPSTREAM__CERTIFICATE_FILE="ours.pem")
    config = load(environ, file=yaml(tmp_path / "etc", text))
    assert config.upstream.ca_file == tmp_path / "etc/ca.pem"
    assert config.upstream.certificate_file == tmp_path / "ours.pem"
    assert config.callers.secret_files == (tmp_path / "etc/one", tmp_path / "home/two")
    assert config.institutions["00017"].client_secret_file == tmp_path / "etc/../secret"


def test_every_path_setting_is_resolved() -> None:
    """The loader knows them by name."""
    sections = [Config.model_json_schema(), *Config.model_json_schema()["$defs"].values()]
    paths = {
        name
        for section in sections
        for name, setting in section.get("properties", {}).items()
        if '"format": "path"' in json.dumps(setting)
    }
    assert len(paths) > 10
    assert [name for name in paths if not name.endswith(("_file", "_files"))] == []
