"""Formats of the access log: templates, their errors, and values that cannot forge a line."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.telemetry.access_format import AccessFormat, check_format

USUAL = {
    "caller_address": "192.0.2.7",
    "clf_time": "28/Nov/2026:13:00:00 +0000",
    "method": "GET",
    "path": "/v1/accounts",
    "protocol": "HTTP/1.1",
    "status": 200,
    "download_bytes": 700,
    "user_agent": "curl/8.5.0",
}
BEGINNING = '192.0.2.7 - - [28/Nov/2026:13:00:00 +0000] "GET /v1/accounts HTTP/1.1" 200 700'
COMMON = re.compile(
    r'(\S+) (\S+) (\S+) \[([^\]]+)\] "(\S+) (\S+) (HTTP/1\.[01])" (\d{3}) (\d+)'
    r'(?: "([^"]*)" "([^"]*)")?\n'
)
"""How readers of the common and the combined format take it apart."""

anything = st.text(max_size=30)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (
            "common",
            BEGINNING + "\n",
        ),
        (
            "combined",
            BEGINNING + ' "-" "curl/8.5.0"\n',
        ),
        ("{method} {path} {status}", "GET /v1/accounts 200\n"),
        ('{{"m": "{method}"}}', '{"m": "GET"}\n'),
        ("}}{{{reason}", "}{-\n"),
    ],
)
def test_line(text: str, line: str) -> None:
    """Named formats and templates; a field without a value is a dash."""
    assert AccessFormat(check_format(text)).line(USUAL) == line


def test_caller_who_left_has_three_digits() -> None:
    """Status 0 is 000, as nginx writes it."""
    assert AccessFormat("{status} {aborted}").line({"status": 0, "aborted": True}) == "000 true\n"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{pth}", "{pth} is not a field; did you mean {path}?"),
        ("{zzz}", "{zzz} is not a field; the fields are aborted, caller, caller_address"),
        ("{}", "{} is not a field; the fields are"),
        ("{method!r}", "{method} takes no options after ! or :"),
        ("{ms:>9}", "{ms} takes no options after ! or :"),
        ("{method", "write a brace that is meant as {{ or }}"),
        ("method}", "write a brace that is meant as {{ or }}"),
        ("comon", "such as {method} {path} {status}; did you mean common?"),
        ("nothing like it", "expected auto, json, common, combined, or a template"),
        ("", "expected auto, json, common, combined, or a template"),
        ("{method}\n{path}", "expected one line of printable characters"),
    ],
)
def test_invalid_format(text: str, reason: str) -> None:
    """The error says what is wrong, and suggests."""
    with pytest.raises(ValueError, match=re.escape(reason)):
        check_format(text)


@given(anything, anything, anything, anything)
def test_no_value_forges_a_field(method: str, path: str, agent: str, caller: str) -> None:
    """A reader gets the same number of fields, on one line, whatever callers send."""
    fields = {**USUAL, "method": method, "path": path, "user_agent": agent, "caller": caller}
    line = AccessFormat("combined").line(fields)
    found = COMMON.fullmatch(line)
    assert found is not None
    assert line.isascii()
    assert found[8] == "200"


@given(anything)
def test_template_of_json_is_json(value: str) -> None:
    """Escapes are those of JSON."""
    line = AccessFormat('{{"agent": "{user_agent}"}}').line({"user_agent": value})
    assert json.loads(line) == {"agent": value or "-"}
