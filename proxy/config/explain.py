"""Explains configuration errors: what was expected, what was given, where it can be set."""

import difflib
import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from proxy.config.examples import example_of, known_paths, with_unit
from proxy.config.listener_settings import ListenerSettings
from proxy.config.model import Config
from proxy.config.origin_config import InstitutionSettings

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

_MAPPINGS: dict[str, type] = {"listeners": ListenerSettings, "institutions": InstitutionSettings}

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

_HAS_EXAMPLE = (
    "such as",
    "did you mean",
    "expected '",
    "true or false",
    "as `",
    ": true",
    "grant: ",
)
"""Parts of messages that have an example, or all permitted values."""

_NOTHING: Mapping[str, Any] = {}


def explain(error: ValidationError, settings: Mapping[str, Any] = _NOTHING) -> Iterator[str]:
    """Return a line for each error: the setting, what was expected, an example, what was given.

    ``settings`` are those that were validated, as they were written.
    """
    for details in error.errors(include_url=False):
        path = ".".join(str(part) for part in details["loc"])
        if not path:  # an error between settings; each line begins with one of them
            lines = details["msg"].removeprefix("Value error, ").split("\n")
            yield from (line + _example_of_needed(line) for line in lines)
        elif details["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
            yield f"{path}: no such setting{suggestion(path, _paths_near(details['loc']))}"
        else:
            words = _words(details)
            yield f"{path}: {words}{_such_as(details['loc'], words)}{_given(details, settings)}"


def _such_as(place: tuple[int | str, ...], words: str) -> str:
    """Return an example of a setting's value, unless ``words`` have one."""
    if any(mark in words for mark in _HAS_EXAMPLE):
        return ""
    return f", such as {example}" if (example := example_of(_path_of(place))) else ""


def _example_of_needed(line: str) -> str:
    """Return the setting that an error between settings asks for, with an example."""
    needed = re.search(r"(?:needs|set either|is required|: needed) ?([a-z_.]*)", line)
    if needed is None or any(mark in line for mark in (*_HAS_EXAMPLE, "not both")):
        return ""
    name = needed[1] if tuple(needed[1].split(".")) in known_paths() else line.partition(": ")[0]
    if name.rpartition(".")[2] in SECRETS:
        name += "_file"
    example = example_of(_path_of(tuple(name.split("."))))
    return f", such as {name}: {example}" if example else ""


def _path_of(place: tuple[int | str, ...]) -> tuple[str, ...]:
    """Return the setting at a place, as it is named outside of the mappings, without indices."""
    names = place[2:] if place[0] in _MAPPINGS and len(place) > 2 else place
    return tuple(str(part) for part in names if isinstance(part, str) and not part.isdigit())


def _words(details: Mapping[str, Any]) -> str:
    kind, context = details["type"], details.get("ctx", {})
    if kind in ("literal_error", "enum"):
        return f"expected {context['expected']}"
    if kind == "too_long":
        return f"must not have more than {context['max_length']} entries"
    if kind in ("tuple_type", "list_type"):
        given = str(details["input"])
        return f"expected a list, such as [{given}]" if given[:1] == "/" else "expected a list"
    if kind in _BOUNDS:
        name, words = _BOUNDS[kind]
        return f"{words} {with_unit(_path_of(details['loc']), context[name])}"
    return _WORDS.get(kind) or details["msg"].removeprefix("Value error, ")


def _given(details: Mapping[str, Any], settings: Mapping[str, Any]) -> str:
    """Return what was given, as it was written, unless it may be a secret."""
    value = details["input"]
    if not isinstance(value, str | int | float) or _NEVER_SHOWN & set(details["loc"]):
        return ""
    written: Any = settings
    for part in details["loc"]:
        written = written.get(part) if isinstance(written, Mapping) else None
    text = str(value) if written is None else str(written)
    # A typing error is short. Anything longer may be a secret at the wrong place, but for a URL.
    is_url = "://" in text and len(text) <= 100 and not set("?#") & set(text)
    is_harmless = text.isprintable() and "@" not in text and (len(text) <= 16 or is_url)
    return f'; got "{text}"' if is_harmless and text not in details["msg"] else ""


def with_names(error: str) -> str:
    """Return an error with the variable and the flag that set the setting it begins with.

    With those of the alternative too, if either is needed.
    """
    setting = re.sub(r"\.[0-9]+$", "", error.partition(": ")[0])  # without an entry's number
    path = tuple(setting.split("."))
    if path not in known_paths() or setting in _FILE_ONLY:
        return error
    other = re.search(r"set either \w+ or (\w+)(?!.*not both)", error)
    paths = [path, *([(other[1],)] if other else [])]
    return f"{error} ({', '.join(name for path in paths for name in _names(path))})"


def _names(path: tuple[str, ...]) -> Iterator[str]:
    """Yield the variable of a setting, and its flag if it has one."""
    variable = variable_of(path)
    yield variable
    name = variable.removeprefix(PREFIX).lower()
    if name in FLAGS:
        yield f"--{name.replace('_', '-')}"


def variable_of(path: tuple[str, ...]) -> str:
    """Return the environment variable of a setting."""
    short = [name for name, meant in SHORT.items() if meant == path]
    return PREFIX + (short[0] if short else "__".join(path).upper())


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
