"""Explains configuration errors: what was expected, what was given, where it can be set."""

import difflib
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import is_dataclass
from typing import Any, get_type_hints

from pydantic import ValidationError

from proxy.config.listener_settings import ListenerSettings
from proxy.config.login_settings import LoginSettings
from proxy.config.model import Config
from proxy.config.setting_types import Section
from proxy.server.address import Address
from proxy.settings import format_duration, format_size

PREFIX = "CANDESCENT_"

SHORT = {
    "LOG_LEVEL": ("log", "level"),
    "LOG_FORMAT": ("log", "format"),
}
"""Variables that have one underscore where the rule would have two."""

FLAGS = ("listen", "admin", "base_url", "log_level", "log_format")
"""Settings that are flags too, named like their variables."""

SECRETS = ("client_secret", "password", "bearer_token")
"""Settings that hold a secret. None may be in the file."""

_FILE_ONLY = {
    *("institutions", "listeners", "routes", "access.allow", "access.deny", "replay.paths"),
    "headers.customer_id_paths",
}
"""Settings that no variable can hold."""

_NEVER_SHOWN = {*SECRETS, "institution_id", "allowed_institutions", "client_id", "username"}
"""Settings whose value is not shown: secrets, and settings that are easily confused with one."""

_MAPPINGS: dict[str, type] = {"listeners": ListenerSettings, "institutions": LoginSettings}

_WORDS = {
    "bool_parsing": "expected true or false",
    "bool_type": "expected true or false",
    "dataclass_type": "expected settings below it, as `name: value`",
    "dict_type": "expected names with settings below each",
    "float_parsing": "expected a number, such as 0.5",
    "float_type": "expected a number, such as 0.5",
    "int_from_float": "expected a whole number, such as 100",
    "int_parsing": "expected a whole number, such as 100",
    "int_type": "expected a whole number, such as 100",
    "missing": "is required",
    "model_type": "expected settings below it, as `name: value`",
    "path_type": "expected the path of a file",
    "string_too_short": "must not be empty",
    "string_type": "expected text",
    "too_short": "must not be empty",
}
"""Messages for pydantic's error types; those with parameters are below."""

_BOUNDS = {
    "greater_than": ("gt", "must be more than"),
    "greater_than_equal": ("ge", "must be at least"),
    "less_than": ("lt", "must be less than"),
    "less_than_equal": ("le", "must be at most"),
}


def explain(error: ValidationError) -> Iterator[str]:
    """Return a line for each error: the setting, what was expected and what was given."""
    for details in error.errors(include_url=False):
        path = ".".join(str(part) for part in details["loc"])
        if not path:  # an error between settings; each line begins with one of them
            yield from details["msg"].removeprefix("Value error, ").split("\n")
        elif details["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
            yield f"{path}: no such setting{suggestion(path, _paths_near(details['loc']))}"
        else:
            yield f"{path}: {_words(details)}{_given(details)}"


def _words(details: Mapping[str, Any]) -> str:
    kind, context = details["type"], details.get("ctx", {})
    if kind in ("literal_error", "enum"):
        return f"expected {context['expected']}"
    if kind == "too_long":
        return f"must not have more than {context['max_length']} entries"
    if kind in ("tuple_type", "list_type"):
        example = details["input"] if isinstance(details["input"], str) else "value"
        return f"expected a list, such as [{example}]"
    if kind in _BOUNDS:
        name, words = _BOUNDS[kind]
        return f"{words} {_bound(details['loc'], context[name])}"
    return _WORDS.get(kind) or details["msg"].removeprefix("Value error, ")


def _bound(place: tuple[int | str, ...], bound: float) -> str:
    unit = _units().get(tuple(map(str, place)), "")
    if unit == "seconds":
        return format_duration(bound)
    return format_size(int(bound)) if unit == "bytes" else f"{bound:g}"


def _units(model: type = Config) -> dict[tuple[str, ...], str]:
    """Return the units of settings that have one, by path."""
    units: dict[tuple[str, ...], str] = {}
    for name, kind in get_type_hints(model, include_extras=True).items():
        if is_section(kind):
            units |= {(name, *path): unit for path, unit in _units(kind).items()}
        for metadata in getattr(kind, "__metadata__", ()):
            if unit := getattr(metadata, "schema", {}).get("x-unit"):
                units[(name,)] = unit
    return units


def _given(details: Mapping[str, Any]) -> str:
    """Return what was given, unless it may be a secret."""
    value = details["input"]
    if not isinstance(value, str | int | float) or _NEVER_SHOWN & set(details["loc"]):
        return ""
    text = str(value)
    # A typing error is short. Anything longer may be a secret at the wrong place.
    is_harmless = text.isprintable() and len(text) <= 16 and "@" not in text
    return f'; got "{text}"' if is_harmless and text not in details["msg"] else ""


def with_names(error: str) -> str:
    """Return an error with the variable and the flag that set the setting it begins with."""
    setting = error.partition(": ")[0]
    path = tuple(setting.split("."))
    if path not in known_paths() or setting in _FILE_ONLY:
        return error
    variable = variable_of(path)
    name = variable.removeprefix(PREFIX).lower()
    flag = f", --{name.replace('_', '-')}" if name in FLAGS else ""
    return f"{error} ({variable}{flag})"


def variable_of(path: tuple[str, ...]) -> str:
    """Return the environment variable of a setting."""
    short = [name for name, meant in SHORT.items() if meant == path]
    return PREFIX + (short[0] if short else "__".join(path).upper())


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
    """Whether a type is a section: a model or a component's dataclass."""
    if not isinstance(kind, type) or issubclass(kind, Address):
        return False
    return is_dataclass(kind) or issubclass(kind, Section)


def _paths_near(place: tuple[int | str, ...]) -> set[str]:
    """Return the names of settings and sections that are valid at a place."""
    named = _MAPPINGS.get(str(place[0]))
    above = tuple(map(str, place[:2])) if named else ()
    depth = len(place) - len(above)
    return {".".join((*above, *known[:depth])) for known in known_paths(named or Config)} | {
        ".".join((*above, *known)) for known in known_paths(named or Config)
    }


def cross_field_errors(merged: dict[str, Any], error: ValidationError) -> Iterator[str]:
    """Yield errors between settings, which pydantic checks only if each setting is valid.

    They are checked without the invalid settings; errors about one of those are left out.
    """
    wrong = {str(details["loc"][0]) for details in error.errors() if details["loc"]}
    right = {"institution_id": "0"} | {k: v for k, v in merged.items() if k not in wrong}
    if not wrong:
        return
    try:
        Config.model_validate(right)
    except ValidationError as rest:
        yield from (line for line in explain(rest) if not wrong & set(re.findall(r"\w+", line)))


def suggestion(name: str, known: Collection[str]) -> str:
    """Return the known name that was probably meant, as the end of a sentence."""
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return f"; did you mean {close[0]}?" if close else ""


def variables() -> list[str]:
    """Return the variables of all settings."""
    return sorted(
        {variable_of(path) for path in known_paths()}
        | {PREFIX + "__".join(path).upper() for path in known_paths()}
    )
