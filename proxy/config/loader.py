"""Reads the configuration from YAML, environment and flags: merged, later ones first, checked."""

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml
from pydantic import SecretStr, ValidationError

from proxy.config.examples import example_of, known_paths
from proxy.config.explain import (
    PREFIX,
    SECRETS,
    SHORT,
    cross_field_errors,
    explain,
    suggestion,
    variable_of,
    variables,
    with_names,
)
from proxy.config.login_settings import LoginSettings
from proxy.config.model import Config
from proxy.config.setting_types import check_client_id, parse_address
from proxy.errors import ConfigError
from proxy.server.address import Address
from proxy.settings import comma_separated
from proxy.tokens.client_authentication import Credentials
from proxy.tokens.credentials import Logins
from proxy.tokens.grants import Login
from proxy.tokens.secret_files import check_readable, read_key, read_secret

_NOT_SETTINGS = re.compile(r"CONFIG|(.*_)?SERVICE_(HOST|PORT.*)|(.*_)?PORT(_\d+_(TCP|UDP|SCTP).*)?")
"""``CANDESCENT_CONFIG`` is the file's path; Kubernetes sets the others in every pod for a Service
whose name begins with ``candescent``."""

_OF_THE_SDK = re.compile(
    r"ACCOUNT_ID|CUSTOMER_ID|SUBSCRIPTION_ID|OIDC_CLIENT_ID|(MX|BB|ALERT)_[A-Z0-9_]+"
)
"""Names in the ``.env.example`` of the vendor's SDK that mean nothing to a proxy."""


def load(file: Path | None, environ: Mapping[str, str], flags: Mapping[str, Any]) -> Config:
    """Return the configuration. Raises ``ConfigError`` with every error that there is.

    Relative paths in the file are relative to its folder, others to the working directory.
    """
    errors: list[str] = []
    written = _collect(errors, lambda: read_file(file) if file else {})
    is_file_lost = bool(errors)
    errors += [f"{file}: {_secret_error(path)}" for path in _secrets_in(written)]
    environment = read_environment(environ, errors)
    merged: dict[str, Any] = {}
    for source in (
        absolute_paths(written, file.absolute().parent if file else Path.cwd()),
        read_standard_variables(environ),
        absolute_paths(environment, Path.cwd()),
        absolute_paths(flags, Path.cwd()),
    ):
        _override(merged, source)
    if is_file_lost:  # Its settings are not reported as missing.
        raise ConfigError(errors)
    try:
        config = Config.model_validate(merged)
    except ValidationError as error:
        if not merged and not errors:
            errors.append("there is no configuration yet; write one with: candescent-proxy init")
        lines = [*explain(error, merged), *cross_field_errors(merged, error)]
        raise ConfigError(
            [*errors, *(with_names(line) + _if_empty(line, environ) for line in lines)]
        ) from None
    if errors:
        raise ConfigError(errors)
    return config


def absolute_paths(settings: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Return settings with every file's path absolute: ``~`` expanded, else below ``folder``."""

    def absolute(value: Any) -> Any:
        if isinstance(value, list):
            return [absolute(part) for part in value]
        if not isinstance(value, str) or not value.strip():
            return value
        with suppress(RuntimeError):  # no home: the path stays unchanged
            return str(folder / Path(value.strip()).expanduser())
        return value

    def resolve(name: str, value: Any) -> Any:
        if isinstance(value, Mapping):
            return absolute_paths(value, folder)
        if name.endswith("_files"):
            return absolute(comma_separated(value))
        return absolute(value) if name.endswith("_file") else value

    return {name: resolve(name, value) for name, value in settings.items()}


def _if_empty(error: str, environ: Mapping[str, str]) -> str:
    """Return the empty variables of the setting in an error, as the end of a sentence."""
    setting = error.partition(": ")[0]
    names = [variable_of(tuple(name.split("."))) for name in (setting, f"{setting}_file")]
    empty = [name for name in names if name in environ and not environ[name].strip()]
    return "".join(f"; {name} is set but empty" for name in empty)


def _secret_error(path: str) -> str:
    if path.endswith("bearer_token"):
        return f"{path} must not be in this file; set {variable_of((path,))}"
    setting = f"{path}_file"
    where = f"put it into a file of its own and set {setting}, such as {example_of((setting,))}"
    return f"{path} must not be in this file; {where} ({variable_of((setting,))})"


def logins(config: Config) -> Logins:
    """Return the login of every institution, and of listeners with their own, with its secrets.

    Raises ``ConfigError`` with all files that cannot be used.
    """
    errors: list[str] = []
    own: dict[str, Login] = {}
    for institution, login in config.logins():
        path = "" if login is config else f"institutions.{institution}."
        default = own.get(config.institution_id)
        base_url = config.origin_of(institution).base_url
        own[institution] = _login(config, login, path, errors, default, base_url)
    by_subject: dict[str, Login] = {}
    for listener in config.listener_configs:
        if listener.login is not None:
            default = own.get(listener.institution) or own[config.institution_id]
            base_url = config.origin_of(listener.institution).base_url
            by_subject[listener.name] = _login(
                config, listener.login, listener.path, errors, default, base_url
            )
    if errors:
        raise ConfigError(errors)
    return Logins(own.pop(config.institution_id), own, config.institution_id, by_subject)


def _login(
    config: Config,
    login: LoginSettings,
    path: str,
    errors: list[str],
    default: Login | None,
    base_url: str,
) -> Login:
    def secret(name: str) -> str | None:
        plain, file = getattr(login, name), getattr(login, f"{name}_file", None)
        if file is not None:
            return str(_collect(errors, lambda: read_secret(file, f"{path}{name}_file"), ""))
        return plain.get_secret_value() if isinstance(plain, SecretStr) else plain

    client_id, client_secret = secret("client_id"), secret("client_secret")
    if (key_file := login.client_key_file) is not None:
        client_secret = _collect(errors, lambda: read_key(key_file, f"{path}client_key_file"), "")
    if client_id and login.client_id_file is not None:
        try:
            check_client_id(client_id)
        except ValueError as error:
            errors.append(f"{path}client_id_file: {login.client_id_file}: {error}")
    inherited = default.credentials if default is not None else Credentials("", "")
    own = client_id is not None and client_secret is not None
    scopes = login.scopes
    if scopes is None and default is not None and not own:
        scopes = default.scopes  # the default's scopes restrict all tokens of an application
    return Login(
        Credentials(
            client_id or "",
            client_secret or "",
            config.token.auth_method,
            config.token.basic_encoding,
            login.client_key_id or "",
            _audience(config, base_url),
        )
        if own
        else inherited,
        login.chosen_grant(**{name: secret(name) or "" for name in login.chosen_grant.fields}),
        scopes or "",
    )


def _audience(config: Config, base_url: str) -> str:
    """Return the audience of assertions sent to ``base_url``.

    Another address than the configuration's own has another: a server must not get an assertion
    that a different one takes.
    """
    own = config.token.assertion_audience if base_url == config.url.geturl() else None
    return own or f"{base_url}/oauth2/v1/token"


def read_file(path: Path) -> dict[str, Any]:
    """Return the mapping in a YAML file, every scalar as text."""
    try:
        check_readable(path)
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError([f"{path}: cannot be read ({error.strerror})"]) from error
    except UnicodeDecodeError as error:
        raise ConfigError([f"{path}: is not UTF-8 text"]) from error
    try:
        document = yaml.load(text, Loader=_PlainLoader)  # noqa: S506 - builds only str, list, dict
    except (yaml.YAMLError, RecursionError) as error:
        raise ConfigError([f"{path}: {_yaml_error(error)}"]) from error
    if document in (None, ""):
        return {}
    if not isinstance(document, dict):
        raise ConfigError([f"{path}: expected settings as `name: value`"])
    return _without_empty(document)


def read_environment(environ: Mapping[str, str], errors: list[str]) -> dict[str, Any]:
    """Return the settings in ``CANDESCENT_…`` variables; two underscores separate a section.

    An empty variable counts as not set; an unknown one is added to ``errors``.
    """
    settings: dict[str, Any] = {}
    for variable, value in sorted(environ.items()):
        if not variable.startswith(PREFIX) or not value.strip():
            continue
        name = variable.removeprefix(PREFIX)
        if _NOT_SETTINGS.fullmatch(name) or _OF_THE_SDK.fullmatch(name):
            continue
        path = SHORT.get(name) or tuple(name.lower().split("__"))
        if path not in known_paths():
            errors.append(f"{variable}: no such setting{suggestion(variable, variables())}")
            continue
        section = settings
        for part in path[:-1]:
            section = section.setdefault(part, {})
        section[path[-1]] = value
    return settings


def ignored_variables(environ: Mapping[str, str]) -> list[str]:
    """Return the names of the vendor SDK's variables that are set and ignored."""
    return sorted(
        variable
        for variable, value in environ.items()
        if value
        and variable.startswith(PREFIX)
        and _OF_THE_SDK.fullmatch(variable.removeprefix(PREFIX))
    )


def read_standard_variables(environ: Mapping[str, str]) -> dict[str, Any]:
    """Return the settings in OpenTelemetry's variables: the endpoints, or none if disabled.

    The collector of spans gets metrics too only if ``OTEL_METRICS_EXPORTER`` says so, because most
    proxies are scraped.
    """
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return {}
    collector = environ.get("OTEL_EXPORTER_OTLP_ENDPOINT", "").rstrip("/")
    spans = environ.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "")
    metrics = environ.get("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "")
    if collector:
        spans = spans or f"{collector}/v1/traces"
    if collector and environ.get("OTEL_METRICS_EXPORTER") == "otlp":
        metrics = metrics or f"{collector}/v1/metrics"
    found: dict[str, Any] = {}
    if spans and environ.get("OTEL_TRACES_EXPORTER", "otlp") == "otlp":
        found["tracing"] = {"endpoint": spans}
    if metrics and environ.get("OTEL_METRICS_EXPORTER", "otlp") == "otlp":
        found["metrics"] = {"endpoint": metrics}
    return found


class _PlainLoader(yaml.BaseLoader):
    """Reads every scalar as text, and refuses duplicate keys."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(
                    None, None, "expected a plain name", key.start_mark
                )
            if key.value in keys:
                raise yaml.constructor.ConstructorError(
                    None, None, f"{key.value} is set twice", key.start_mark
                )
            keys.add(str(key.value))
        return super().construct_mapping(node, deep)


def _yaml_error(error: Exception) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        line = error.problem_mark.line + 1
        if "'\\t'" in str(error.problem):
            return f"line {line}: has a tab; indent with spaces"
        return f"line {line}: {error.problem}"
    return "is not YAML"


def _without_empty(value: dict[str, Any]) -> dict[str, Any]:
    # `key:` without a value counts as not set, like a commented-out value.
    return {
        key: _without_empty(inner) if isinstance(inner, dict) else inner
        for key, inner in value.items()
        if inner not in ("", "~", "null")
    }


def _secrets_in(settings: Mapping[str, Any], path: str = "") -> Iterator[str]:
    for name, value in settings.items():
        if isinstance(value, dict):
            yield from _secrets_in(value, f"{path}{name}.")
        elif name in SECRETS:
            yield path + name


def _override(under: dict[str, Any], over: Mapping[str, Any]) -> None:
    for key, value in over.items():
        if isinstance(value, Mapping) and isinstance(under.get(key), dict):
            _override(under[key], value)
        else:
            under[key] = dict(value) if isinstance(value, Mapping) else value
    for first, second in ALTERNATIVES:
        # The later source decides: its variant replaces the other of an earlier one.
        if (first in over) != (second in over):
            under.pop(second if first in over else first, None)


ALTERNATIVES = (
    ("environment", "base_url"),
    ("client_id", "client_id_file"),
    ("client_secret", "client_secret_file"),
    ("password", "password_file"),
)


def _collect(errors: list[str], read: Any, otherwise: Any = None) -> Any:
    try:
        return read()
    except ConfigError as error:
        errors += error.errors
        return {} if otherwise is None else otherwise


def address(setting: str, text: str) -> Address:
    """Return a ``HOST:PORT`` outside of the model. Raises ``ConfigError``."""
    try:
        return parse_address(text)
    except ValueError as error:
        raise ConfigError([f"{setting}: {error}"]) from None
