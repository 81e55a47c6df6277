"""Where a configuration comes from: YAML, environment and flags, merged, checked, explained."""

import difflib
import re
from collections.abc import Iterator, Mapping
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any, get_type_hints

import yaml
from pydantic import SecretStr, ValidationError

from proxy.config.fields import Section, parse_address
from proxy.config.listeners import ListenerSettings
from proxy.config.login_settings import LoginSettings
from proxy.config.model import Config
from proxy.errors import ConfigError
from proxy.server.address import Address
from proxy.tokens.credentials import Logins
from proxy.tokens.grants import Credentials, Login
from proxy.tokens.secret_files import read_secret

PREFIX = "CANDESCENT_"

SHORT = {
    "LOG_LEVEL": ("log", "level"),
    "LOG_FORMAT": ("log", "format"),
}
"""Variables that have one underscore where the rule would have two."""

_NOT_SETTINGS = re.compile(r"CONFIG|(.*_)?SERVICE_(HOST|PORT.*)|(.*_)?PORT(_\d+_(TCP|UDP|SCTP).*)?")
"""``CANDESCENT_CONFIG`` names the file; the others are what Kubernetes puts in every pod's
environment for a Service whose name begins with ``candescent``."""


def load(file: Path | None, environ: Mapping[str, str], flags: Mapping[str, Any]) -> Config:
    """Return the configuration. Raises ``ConfigError`` with every mistake that there is."""
    errors: list[str] = []
    written = _collect(errors, lambda: read_file(file) if file else {})
    lost = bool(errors)
    errors += [
        f"{file}: {name}: no secret stands in this file; use {name}_file"
        for name in _secrets_in(written)
    ]
    merged: dict[str, Any] = {}
    for source in (
        written,
        read_standard_variables(environ),
        read_environment(environ, errors),
        flags,
    ):
        _override(merged, source)
    if lost:  # What a file that cannot be read would have set is not missing.
        raise ConfigError(errors)
    try:
        config = Config.model_validate(merged)
    except ValidationError as error:
        raise ConfigError(
            [*errors, *_explain(error), *_cross_field_errors(merged, error)]
        ) from None
    if errors:
        raise ConfigError(errors)
    return config


def logins(config: Config) -> Logins:
    """Return the login of every institution, its secrets read from where they stand.

    Raises ``ConfigError`` for files that cannot be used, all of them at once.
    """
    errors: list[str] = []
    own: dict[str, Login] = {}
    for institution, login in config.logins():
        path = "" if login is config else f"institutions.{institution}."
        own[institution] = _login(login, path, errors, own.get(config.institution_id))
    if errors:
        raise ConfigError(errors)
    return Logins(own.pop(config.institution_id), own, config.institution_id)


def _login(login: LoginSettings, path: str, errors: list[str], default: Login | None) -> Login:
    def secret(name: str) -> str | None:
        plain, file = getattr(login, name), getattr(login, f"{name}_file", None)
        if file is not None:
            return str(_collect(errors, lambda: read_secret(file, f"{path}{name}_file"), ""))
        return plain.get_secret_value() if isinstance(plain, SecretStr) else plain

    client_id, client_secret = secret("client_id"), secret("client_secret")
    inherited = default.credentials if default is not None else Credentials("", "")
    own = client_id is not None and client_secret is not None
    scopes = login.scopes
    if scopes is None and default is not None and not own:
        scopes = default.scopes  # what narrows an application's tokens narrows all of them
    return Login(
        Credentials(client_id or "", client_secret or "") if own else inherited,
        login.chosen_grant(**{name: secret(name) or "" for name in login.chosen_grant.fields}),
        scopes or "",
    )


def read_file(path: Path) -> dict[str, Any]:
    """Return the mapping in a YAML file, every scalar as the text that stands there."""
    try:
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
    """Return the settings in ``CANDESCENT_…`` variables; two underscores reach into a section.

    An empty variable counts as not set; an unknown one is added to ``errors``.
    """
    settings: dict[str, Any] = {}
    for variable, value in sorted(environ.items()):
        if not variable.startswith(PREFIX) or not value:
            continue
        name = variable.removeprefix(PREFIX)
        if _NOT_SETTINGS.fullmatch(name):
            continue
        path = SHORT.get(name) or tuple(name.lower().split("__"))
        if path not in known_paths():
            errors.append(f"{variable}: no such setting{_suggestion(variable, _variables())}")
            continue
        section = settings
        for part in path[:-1]:
            section = section.setdefault(part, {})
        section[path[-1]] = value
    return settings


def read_standard_variables(environ: Mapping[str, str]) -> dict[str, Any]:
    """Return what OpenTelemetry's own variables set: where spans go, if they are wanted at all."""
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return {}
    if environ.get("OTEL_TRACES_EXPORTER", "otlp") != "otlp":
        return {}
    endpoint = environ.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "")
    if not endpoint and (collector := environ.get("OTEL_EXPORTER_OTLP_ENDPOINT")):
        endpoint = collector.rstrip("/") + "/v1/traces"
    return {"tracing": {"endpoint": endpoint}} if endpoint else {}


def known_paths(model: type = Config) -> set[tuple[str, ...]]:
    """Return the path of every setting."""
    paths: set[tuple[str, ...]] = set()
    for name, kind in get_type_hints(model).items():
        if is_section(kind):
            paths |= {(name, *rest) for rest in known_paths(kind)}
        else:
            paths.add((name,))
    return paths


def is_section(kind: object) -> bool:
    """Whether settings of this type stand in a section: a model or a component's dataclass."""
    if not isinstance(kind, type) or issubclass(kind, Address):
        return False
    return is_dataclass(kind) or issubclass(kind, Section)


class _PlainLoader(yaml.BaseLoader):
    """Reads every scalar as text, and takes a key that stands twice for the mistake it is."""

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
        return f"line {error.problem_mark.line + 1}: {error.problem}"
    return "is not YAML"


def _without_empty(value: dict[str, Any]) -> dict[str, Any]:
    # `key:` with nothing behind it means "as if it were not there", like a commented-out value.
    return {
        key: _without_empty(inner) if isinstance(inner, dict) else inner
        for key, inner in value.items()
        if inner not in ("", "~", "null")
    }


def _secrets_in(settings: Mapping[str, Any], path: str = "") -> Iterator[str]:
    for name, value in settings.items():
        if isinstance(value, dict):
            yield from _secrets_in(value, f"{path}{name}.")
        elif name in ("client_secret", "password", "bearer_token"):
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


def _explain(error: ValidationError) -> Iterator[str]:
    for details in error.errors(include_url=False, include_input=False):
        path = ".".join(str(part) for part in details["loc"])
        message = details["msg"].removeprefix("Value error, ")
        if details["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
            message = f"no such setting{_suggestion(path, _paths_near(details['loc']))}"
        elif details["type"] == "missing":
            variable = f"; set it in the file or as {PREFIX}{path.upper()}"
            message = "is required" + (variable if len(details["loc"]) == 1 else "")
        if not path:
            yield from message.split("\n")
        else:
            yield f"{path}: {message}"


def _paths_near(place: tuple[int | str, ...]) -> list[str]:
    """Return the paths of settings that may have been meant at a place."""
    mappings: dict[str, type] = {
        "listeners": ListenerSettings,
        "institutions": LoginSettings,
    }
    named = mappings.get(str(place[0]))
    above = place[:2] if named else ()
    return [".".join(map(str, (*above, *known))) for known in known_paths(named or Config)]


def _cross_field_errors(merged: dict[str, Any], error: ValidationError) -> Iterator[str]:
    """Yield what does not fit together, which pydantic only looks at when each setting is right.

    Asked with the wrong settings left out, and told unless it is about one of them.
    """
    wrong = {str(error["loc"][0]) for error in error.errors() if error["loc"]}
    right = {"institution_id": "0"} | {k: v for k, v in merged.items() if k not in wrong}
    if not wrong:
        return
    try:
        Config.model_validate(right)
    except ValidationError as rest:
        yield from (
            options for options in _explain(rest) if not wrong & set(re.findall(r"\w+", options))
        )


def _suggestion(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return f"; did you mean {close[0]}?" if close else ""


def _variables() -> list[str]:
    names = [*SHORT, *("__".join(path).upper() for path in known_paths())]
    return [PREFIX + name for name in names]


def address(setting: str, text: str) -> Address:
    """Return a ``HOST:PORT`` outside of the model. Raises ``ConfigError``."""
    try:
        return parse_address(text)
    except ValueError as error:
        raise ConfigError([f"{setting}: {error}"]) from None
