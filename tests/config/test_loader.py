"""Where a configuration comes from, and what is said about the mistakes in it."""

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
    """Return an environment with the least that works and these, written without the prefix."""
    return LEAST | {
        f"CANDESCENT_{name}": value for name, value in {**(variables or {}), **more}.items()
    }


def load(
    environ: Mapping[str, str] = LEAST,
    *,
    file: Path | None = None,
    flags: Mapping[str, Any] | None = None,
) -> Config:
    """Return what these sources make."""
    return loader.load(file, environ, flags or {})


def mistakes(
    environ: Mapping[str, str] = LEAST,
    *,
    file: Path | None = None,
    flags: Mapping[str, Any] | None = None,
) -> list[str]:
    """Return what is said about these sources."""
    with pytest.raises(ConfigError) as caught:
        load(environ, file=file, flags=flags)
    return caught.value.errors


def yaml(path: Path, text: str) -> Path:
    """Return a settings file with this text."""
    file = path / "proxy.yaml"
    file.write_text(text, encoding="utf-8")
    return file


# Sources.


def test_least_that_works() -> None:
    """The four variables of the vendor's SDK are enough."""
    config = load()
    assert config.url.geturl() == "https://api.candescent.com/digitalbanking/stage"
    assert (config.institution_id, config.client_id) == ("00016", "shared-key")
    assert (str(config.listen), str(config.admin)) == ("127.0.0.1:8080", "127.0.0.1:9090")


def test_file_environment_flags_later_ones_win(tmp_path: Path) -> None:
    """A variable wins over the file, a flag over both; what only one names stays."""
    file = yaml(tmp_path, "listen: 127.0.0.1:1\nadmin: 127.0.0.1:2\ngrace_period: 3\n")
    config = load(
        named(LISTEN="127.0.0.1:5", ADMIN="127.0.0.1:6"),
        file=file,
        flags={"listen": "127.0.0.1:7"},
    )
    assert (str(config.listen), str(config.admin)) == ("127.0.0.1:7", "127.0.0.1:6")
    assert config.grace_period == 3


def test_sections_are_merged_not_replaced(tmp_path: Path) -> None:
    """A single nested setting from one source leaves its neighbours from another."""
    file = yaml(tmp_path, "log:\n  level: error\n  access: off\n  format: json\n")
    config = load(named(LOG__ACCESS="on"), file=file, flags={"log": {"format": "console"}})
    assert (config.log.level, config.log.access, config.log.format) == ("error", "on", "console")


@pytest.mark.parametrize("variable", ["LOG_LEVEL", "LOG__LEVEL"])
def test_promised_short_names(variable: str) -> None:
    """The log settings have a short name beside the regular one."""
    assert load(named({variable: "debug"})).log.level == "debug"


def test_two_underscores_reach_into_a_section() -> None:
    """Every nested setting has a variable."""
    config = load(
        named(UPSTREAM__MAX_CONNECTIONS="7", TOKEN__IDLE="60", HEADERS__CORRELATION_ID="false")
    )
    assert (config.upstream.max_connections, config.token.idle) == (7, 60)
    assert config.headers.correlation_id is False


def test_every_setting_has_a_variable() -> None:
    """No setting is out of the environment's reach by its name."""
    names = variables()
    assert {"CANDESCENT_BASE_URL", "CANDESCENT_TOKEN__TIMEOUT"} <= set(names)
    assert all(name.startswith("CANDESCENT_") for name in names)


def test_empty_variable_is_none() -> None:
    """A variable set to nothing is as if it were not set."""
    assert load(named(BASE_URL="", LISTEN="")) == load()


def test_other_variables_are_not_ours() -> None:
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
def test_variables_of_kubernetes_are_no_settings(variable: str) -> None:
    """A Service named candescent or candescent-proxy puts variables into every pod."""
    assert load(named({variable: "tcp://10.0.0.1:80"})) == load()


VENDOR = "ACCOUNT_ID CUSTOMER_ID SUBSCRIPTION_ID OIDC_CLIENT_ID MX_CLIENT_ID BB_LOGIN_ID ALERT_TYPE"


def test_variables_of_the_vendors_sdk_are_ignored() -> None:
    """Its ``.env`` file works as it comes; what means nothing here is listed, unless empty."""
    environ = named(dict.fromkeys(VENDOR.split(), "x"), ENVIRONMENT="sandbox")
    assert load(environ).url.geturl() == "https://api.sandbox.candescent.com"
    assert loader.ignored_variables(environ | {"CANDESCENT_MX_EMPTY": ""}) == sorted(
        f"CANDESCENT_{name}" for name in VENDOR.split()
    )
    assert loader.ignored_variables(LEAST) == []


@pytest.mark.parametrize(
    "variable", ["ACCOUNT_IDS", "CUSTOMER", "MX", "MX_", "ALERTS_X", "OIDC_CLIENT_SECRET", "BBX_Y"]
)
def test_neighbours_of_the_vendors_names_are_mistakes(variable: str) -> None:
    """Only the vendor's own names are left alone; a slip is still an error."""
    assert mistakes(named({variable: "x"}))[0].startswith(f"CANDESCENT_{variable}: no such setting")


def test_later_source_decides_between_alternatives(tmp_path: Path) -> None:
    """A base URL in the environment replaces the file's ``environment``, and so on."""
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


def test_base_url_flag_replaces_an_environment() -> None:
    """``--base-url`` works for those whose variables name an environment."""
    assert load(flags={"base_url": "http://127.0.0.1:1"}).environment is None


# YAML.


@pytest.mark.parametrize("written", ["00016", "'00016'", '"00016"'])
def test_leading_zeros_stay(tmp_path: Path, written: str) -> None:
    """An institution is text, however it is written."""
    environ = {key: value for key, value in LEAST.items() if "INSTITUTION" not in key}
    file = yaml(tmp_path, f"institution_id: {written}\n")
    assert load(environ, file=file).institution_id == "00016"


@given(st.from_regex(r"[0-9]{1,20}", fullmatch=True))
def test_digits_are_never_a_number(tmp_path_factory: pytest.TempPathFactory, digits: str) -> None:
    """No row of digits is read as octal, as sixty-based or as a float."""
    file = yaml(tmp_path_factory.getbasetemp(), f"institution_id: {digits}\n")
    assert loader.read_file(file) == {"institution_id": digits}


@pytest.mark.parametrize("word", ["off", "no", "1.0", "0x10", "1_000", "2026-01-01", "12:30:45"])
def test_words_are_words(tmp_path: Path, word: str) -> None:
    """Nothing is read as anything but the text that stands there."""
    assert loader.read_file(yaml(tmp_path, f"listen: {word}\n")) == {"listen": word}


def test_empty_values_count_as_left_out(tmp_path: Path) -> None:
    """``key:`` with nothing behind it is a commented-out value."""
    file = yaml(tmp_path, "base_url:\nlisten: ~\nlog:\n  level: null\n  access: ''\n")
    config = load(file=file)
    assert (str(config.listen), config.log.level) == ("127.0.0.1:8080", "info")


@pytest.mark.parametrize("text", ["", "# nothing but a comment\n", "---\n", "{}\n"])
def test_empty_file_sets_nothing(tmp_path: Path, text: str) -> None:
    """A file may be empty."""
    assert load(file=yaml(tmp_path, text)) == load()


@pytest.mark.parametrize(
    ("text", "told"),
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
def test_file_that_is_no_mapping_of_settings(tmp_path: Path, text: str, told: str) -> None:
    """What cannot be read is one line that says where; nothing else is claimed to be missing."""
    file = yaml(tmp_path, text)
    (mistake,) = mistakes({}, file=file)
    assert mistake.startswith(f"{file}: {told}")


def test_tags_build_nothing(tmp_path: Path) -> None:
    """A YAML file is data; a tag does not make an object of it."""
    file = yaml(tmp_path, "listen: !!python/object/apply:os.getcwd []\nadmin: !!int '1'\n")
    assert loader.read_file(file) == {"listen": [], "admin": "1"}


def test_file_that_cannot_be_read(tmp_path: Path) -> None:
    """A missing file, a directory, and one that is not text: each in one line."""
    binary = tmp_path / "binary"
    binary.write_bytes(b"listen: \xff\xfe")
    for path, why in (
        (tmp_path / "missing", "No such file or directory"),
        (tmp_path, "Is a directory"),
        (binary, "is not UTF-8 text"),
    ):
        (mistake,) = mistakes({}, file=path)
        assert mistake.startswith(f"{path}: ")
        assert why in mistake


def test_secret_in_the_file_is_refused(tmp_path: Path) -> None:
    """A secret does not stand in a file that is passed around, and is not repeated either."""
    file = yaml(
        tmp_path,
        "client_secret: hush-1\npassword: hush-2\n"
        "institutions:\n  '00017':\n    client_id: a\n    client_secret: hush-3\n",
    )
    told = "\n".join(mistakes(file=file))
    for path in ("client_secret", "password", "institutions.00017.client_secret"):
        assert f"{file}: {path} must not be in this file" in told
        assert f"set {path}_file" in told
    assert "hush" not in told


# Mistakes.


def test_every_mistake_at_once(tmp_path: Path) -> None:
    """One run tells all: unknown names, wrong values, missing ones, what does not fit together."""
    file = yaml(
        tmp_path,
        "lisen: 127.0.0.1:1\nenvironment: stage\nlog:\n  levle: info\n  sample: 2\n"
        "upstream:\n  max_connections: many\n",
    )
    told = mistakes(
        {"CANDESCENT_BASE_ULR": "x", "CANDESCENT_BASE_URL": "ftp://host"},
        file=file,
        flags={"listen": "0.0.0.0:80"},
    )
    starts = [mistake.partition(": ")[0] for mistake in told]
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


def test_nothing_at_all_says_what_is_needed() -> None:
    """Without a single setting the four that are needed are named, and how to set one."""
    told = mistakes({})
    assert told[0] == "there is no configuration yet; write one with: candescent-proxy init"
    assert [mistake.partition(":")[0] for mistake in told[1:]] == [
        "institution_id",
        "environment",
        "client_id",
        "client_secret",
    ]
    assert "CANDESCENT_INSTITUTION_ID" in told[1]


@pytest.mark.parametrize(
    ("variable", "meant"),
    [
        ("BASE_ULR", "CANDESCENT_BASE_URL"),
        ("CLIENTID", "CANDESCENT_CLIENT_ID"),
        ("TOKEN_TIMEOUT", "CANDESCENT_TOKEN__TIMEOUT"),
        ("LOGLEVEL", "CANDESCENT_LOG_LEVEL"),
    ],
)
def test_misspelt_variable(variable: str, meant: str) -> None:
    """A misspelt variable is a mistake, with the name that was probably meant."""
    assert mistakes(named({variable: "x"})) == [
        f"CANDESCENT_{variable}: no such setting; did you mean {meant}?"
    ]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("lisen: x", "lisen: no such setting; did you mean listen?"),
        ("log:\n  levle: x", "log.levle: no such setting; did you mean log.level?"),
        ("token:\n  margin: 5", "token.margin: no such setting; did you mean token.margin_min?"),
        ("xyzzy: 1", "xyzzy: no such setting"),
    ],
)
def test_misspelt_key(tmp_path: Path, text: str, told: str) -> None:
    """A misspelt key in the file is a mistake, with the name that was probably meant."""
    assert mistakes(file=yaml(tmp_path, text)) == [told]


def test_both_of_two_alternatives() -> None:
    """Two ways to say one thing in the same source are refused, each pair by its name."""
    assert mistakes(
        named(BASE_URL="http://127.0.0.1", CLIENT_ID_FILE="/a", CLIENT_SECRET_FILE="/b")
    ) == [
        "environment: set either environment or base_url, not both (CANDESCENT_ENVIRONMENT)",
        "client_id: set either client_id or client_id_file, not both (CANDESCENT_CLIENT_ID)",
        (
            "client_secret: set either client_secret or client_secret_file, not both "
            "(CANDESCENT_CLIENT_SECRET)"
        ),
    ]


def test_wrong_value_hides_no_other_mistake() -> None:
    """One wrong number does not keep back what does not fit together."""
    told = mistakes(named(GRACE_PERIOD="long", LISTEN="0.0.0.0:80"))
    assert [mistake.partition(":")[0] for mistake in told] == ["grace_period", "listen"]


def test_wrong_value_is_not_called_missing() -> None:
    """A base URL that is wrong is told as wrong, not as left out besides."""
    environ = {key: value for key, value in LEAST.items() if "ENVIRONMENT" not in key}
    (mistake,) = mistakes(environ | {"CANDESCENT_BASE_URL": "ftp://host"})
    assert mistake.startswith("base_url: ")


def test_secret_is_not_in_what_is_said() -> None:
    """Whatever is wrong, no value of a secret is repeated."""
    told = mistakes(
        named(
            GRACE_PERIOD="x",
            BASE_URL="x",
            LISTEN="x",
            CLIENT_SECRET="hush-hush",
            CLIENT_ID_FILE="/",
        )
    )
    assert len(told) == 4
    assert "hush" not in "".join(told)


# Secrets.


def with_files(tmp_path: Path, client_id: bytes | None, secret: bytes | None) -> Config:
    """Return a configuration whose credentials stand in files of this content."""
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
    """The client id and secret are read from the files that the configuration names."""
    found = loader.logins(with_files(tmp_path, b"my-id\n", b"my-secret\r\n"))
    assert found.default.credentials.client_id == "my-id"
    assert found.default.credentials.client_secret == "my-secret"


def test_secrets_from_variables() -> None:
    """For development a variable will do."""
    found = loader.logins(load()).default.credentials
    assert (found.client_id, found.client_secret) == ("shared-key", "secret-key")


def test_all_wrong_secret_files_at_once(tmp_path: Path) -> None:
    """Both files are looked at, and each mistake names its setting and its path."""
    config = with_files(tmp_path, None, b"")
    with pytest.raises(ConfigError) as caught:
        loader.logins(config)
    assert [mistake.partition(" ")[0] for mistake in caught.value.errors] == [
        "client_id_file:",
        "client_secret_file:",
    ]
    assert all(str(tmp_path) in mistake for mistake in caught.value.errors)


def test_client_id_file_that_basic_cannot_send(tmp_path: Path) -> None:
    """A colon in the file of the client id is told with the setting and without the id."""
    with pytest.raises(ConfigError) as caught:
        loader.logins(with_files(tmp_path, b"shared:key\n", b"secret:key"))
    (mistake,) = caught.value.errors
    assert mistake.startswith(f"client_id_file: {tmp_path}")
    assert "shared" not in mistake


# Addresses outside of the model.


def test_address_by_itself() -> None:
    """A command's own address is read by the same rule, and told by its flag."""
    assert str(loader.address("--listen", "[::1]:80")) == "[::1]:80"
    with pytest.raises(ConfigError) as caught:
        loader.address("--listen", "desk")
    assert caught.value.errors[0].startswith("--listen: expected HOST:PORT")


# What is set to nothing, and files.


def test_a_tab_is_named(tmp_path: Path) -> None:
    """YAML indents with spaces."""
    file = yaml(tmp_path, "log:\n\tlevel: info\n")
    assert mistakes(file=file) == [f"{file}: line 2: has a tab; indent with spaces"]


@pytest.mark.parametrize("name", ["CLIENT_SECRET", "CLIENT_SECRET_FILE"])
def test_a_variable_set_to_nothing_is_named(name: str) -> None:
    """A deployment that lost its secret says so, not that none was ever set."""
    environ = named() | {"CANDESCENT_CLIENT_SECRET": ""} | {f"CANDESCENT_{name}": " "}
    (line,) = mistakes(environ)
    assert f"CANDESCENT_{name} is set but empty" in line


def test_files_are_relative_to_the_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the file to its folder, in variables to the working directory; ``~`` is the home."""
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


def test_every_path_is_found_by_its_name() -> None:
    """The loader makes paths absolute by the names of their settings."""
    sections = [Config.model_json_schema(), *Config.model_json_schema()["$defs"].values()]
    paths = {
        name
        for section in sections
        for name, setting in section.get("properties", {}).items()
        if '"format": "path"' in json.dumps(setting)
    }
    assert len(paths) > 10
    assert [name for name in paths if not name.endswith(("_file", "_files"))] == []
