"""How a component declares its settings: a frozen dataclass that the configuration contains.

::

    @dataclass(frozen=True)
    class PoolSettings:
        connect_timeout: Seconds = setting(5.0, "Time allowed to open a connection, TLS included.")

The type has the bounds and the unit, ``setting`` the default and the description. pydantic
validates such a class directly: it reads the bounds of ``annotated_types`` and the metadata of
dataclass fields, and calls the two ``__get_pydantic…`` methods below. So components do not depend
on pydantic, and file, environment, reference table and JSON Schema follow from the declaration.

mypyc drops ``Annotated``, so settings classes are in modules that are not compiled.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, TypeVar
from urllib.parse import SplitResult, urlsplit

from annotated_types import Interval

T = TypeVar("T")

_DURATIONS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_SIZES = {
    "b": 1,
    "kb": 1000,
    "mb": 1000**2,
    "gb": 1000**3,
    "kib": 1024,
    "mib": 1024**2,
    "gib": 1024**3,
}
_NUMBER = re.compile(r"\s*[+-]?(?:[0-9]++(?:\.[0-9]*+)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?\s*")
_DURATION = re.compile(r"(?:[0-9]+(?:\.[0-9]+)? ?(?:ms|[smhd]) ?)+")
_DURATION_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?(ms|[smhd])")
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?([kmg]?i?b)", re.IGNORECASE)


def setting(default: T, description: str) -> T:
    """Return the field of a settings class."""
    value: T = field(default=default, metadata={"description": description})
    return value


@dataclass(frozen=True, slots=True)
class Convert:
    """Metadata of a type: ``function`` converts what was written before it is validated.

    It raises ``ValueError`` with what was expected. ``schema`` is merged into the JSON Schema.
    """

    function: Callable[[Any], Any]
    schema: Mapping[str, object] = field(default_factory=dict, hash=False)

    def __get_pydantic_core_schema__(self, source: Any, handler: Callable[[Any], Any]) -> Any:
        """Called by pydantic."""
        from pydantic_core import core_schema  # noqa: PLC0415 - only the configuration loads it

        return core_schema.no_info_before_validator_function(self.function, handler(source))

    def __get_pydantic_json_schema__(self, schema: Any, handler: Callable[[Any], Any]) -> Any:
        """Called by pydantic."""
        return {**handler(schema), **self.schema}


@dataclass(frozen=True, slots=True)
class Check:
    """Metadata of a type: ``function`` returns the validated value, or raises ``ValueError``.

    ``schema`` is merged into the JSON Schema.
    """

    function: Callable[[Any], Any]
    schema: Mapping[str, object] = field(default_factory=dict, hash=False)

    def __get_pydantic_core_schema__(self, source: Any, handler: Callable[[Any], Any]) -> Any:
        """Called by pydantic."""
        from pydantic_core import core_schema  # noqa: PLC0415 - only the configuration loads it

        return core_schema.no_info_after_validator_function(self.function, handler(source))

    def __get_pydantic_json_schema__(self, schema: Any, handler: Callable[[Any], Any]) -> Any:
        """Called by pydantic."""
        return {**handler(schema), **self.schema}


def matching(pattern: str, expected: str) -> Check:
    """Return the metadata of a text that must match; ``expected`` says how, with an example."""

    def check(value: str) -> str:
        if re.fullmatch(pattern, value) is None:
            raise ValueError(f"expected {expected}")
        return value

    return Check(check, {"pattern": f"^{pattern}$"})


def _is_number(value: object) -> bool:
    """Whether a value is a number, or written like one; None is left to the type."""
    if isinstance(value, str):
        return _NUMBER.fullmatch(value) is not None
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))


def parse_duration(value: object) -> object:
    """Return the seconds of ``500ms``, ``5 s``, ``2m``, ``1h30m`` or ``1d``; a number unchanged."""
    if _is_number(value):
        return value
    if not isinstance(value, str) or _DURATION.fullmatch(value.strip()) is None:
        raise ValueError("expected a duration, such as 5s, 500ms or 2m")
    parts = _DURATION_PART.findall(value)
    return sum(float(number) * _DURATIONS[unit] for number, unit in parts)


def parse_size(value: object) -> object:
    """Return the bytes of ``64KiB`` or ``50MB``; a number unchanged."""
    if _is_number(value):
        return value
    match = _SIZE.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        raise ValueError("expected a size, such as 64KiB, 50MB or 8190 (bytes)")
    return round(float(match[1]) * _SIZES[match[2].lower()])


def format_duration(seconds: float) -> str:
    """Return seconds in their written form: ``5s``, ``500ms``, ``2m``."""
    if seconds and seconds < 1:
        return f"{seconds * 1000:g}ms"
    unit = next(
        unit for unit in ("d", "h", "m", "s") if unit == "s" or not seconds % _DURATIONS[unit]
    )
    return f"{seconds / _DURATIONS[unit]:g}{unit}" if seconds else "0s"


def format_size(size: int) -> str:
    """Return bytes in their written form: ``64KiB``, ``8190``."""
    for unit in ("GiB", "MiB", "KiB"):
        if size and not size % _SIZES[unit.lower()]:
            return f"{size // _SIZES[unit.lower()]}{unit}"
    return str(size)


def comma_separated(value: object) -> object:
    """Return the parts of a comma-separated text; other types unchanged."""
    if not isinstance(value, str):
        return value
    return [part.strip() for part in value.split(",") if part.strip()]


DURATION = Convert(
    parse_duration,
    {
        "type": ["number", "string"],
        "x-unit": "seconds",
        "pattern": r"^\s*([0-9.]+\s*|([0-9]+(\.[0-9]+)? ?(ms|[smhd]) ?)+)\s*$",
    },
)
SIZE = Convert(
    parse_size,
    {
        "type": ["integer", "string"],
        "x-unit": "bytes",
        "pattern": r"^\s*([0-9]+|[0-9]+(\.[0-9]+)? ?[kKmMgG]?[iI]?[bB])\s*$",
    },
)
COMMA_SEPARATED = Convert(comma_separated)

Seconds = Annotated[float, Interval(gt=0, le=31_536_000), DURATION]
"""A duration longer than zero, at most a year."""

SecondsOrZero = Annotated[float, Interval(ge=0, le=3600), DURATION]
"""A duration of at most an hour; zero has a special meaning."""

Count = Annotated[int, Interval(ge=1, le=1_000_000)]
"""How many of something, at least one."""

Bytes = Annotated[int, Interval(ge=1, le=1_048_576), SIZE]
"""A size of at least one byte and at most 1 MiB."""

Name = Annotated[str, matching(r"[\x21-\x7e]+", "text without spaces")]
"""ASCII without spaces: a name or an id of another system."""

Share = Annotated[float, Interval(ge=0, le=1)]
"""A part of a whole, from 0 to 1."""


def split_url(value: str) -> SplitResult:
    """Return the parts of a URL. Raises ``ValueError``."""
    # urlsplit accepts spaces and drops line ends, and a host name goes into headers as ASCII.
    if not re.fullmatch(r"[\x21-\x7e]+", value):
        raise ValueError("expected ASCII without spaces; write a host name as xn--…")
    return urlsplit(value)


def check_base_url(value: str) -> str:
    """Return a base URL, equal ones in one form: small letters, no default port, no last slash.

    Raises ``ValueError``.
    """
    url = split_url(value)
    if url.scheme not in ("http", "https") or not url.hostname:
        raise ValueError("expected http://HOST[:PORT][/PATH] or https://…")
    if url.username or url.password or url.query or url.fragment:
        raise ValueError("a base URL has no user, query or fragment")
    if not re.fullmatch(r"[A-Za-z0-9._~/-]*", url.path):
        raise ValueError("the path of a base URL has only letters, digits and . _ ~ / -")
    if {".", ".."}.intersection(url.path.split("/")):
        raise ValueError("the path of a base URL has no . or .. between slashes")
    if url.port == 0:
        raise ValueError("port 0 cannot be called")
    netloc = url.netloc.lower().removesuffix(":")
    if url.port == (443 if url.scheme == "https" else 80):
        netloc = netloc.removesuffix(f":{url.port}")
    return url._replace(netloc=netloc, path=url.path.rstrip("/")).geturl()
