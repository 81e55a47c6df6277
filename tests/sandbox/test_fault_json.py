"""Faults as JSON."""

from typing import Any

import pytest

from proxy.sandbox import Fault
from proxy.sandbox.fault_json import fault_from, shown_fault


@pytest.mark.parametrize(
    ("mapping", "fault"),
    [
        ({"where": "token", "code": "CMN_90002", "times": 2},
         Fault("token", code="CMN_90002", times=2)),
        ({"where": "token", "expires_in": 1e308}, Fault("token", expires_in=1e308)),
        ({"where": "token", "expires_in": None}, Fault("token", expires_in=None)),
        ({"where": "token", "without": ["expires_in"]}, Fault("token", without=("expires_in",))),
        ({"where": "token", "body": "hé"}, Fault("token", shape="hé".encode())),
        ({"where": "token", "body_base64": "/w=="}, Fault("token", shape=b"\xff")),
        ({"where": "resource", "wire": "HTTP/1.1 200 OK\r\n\r\n", "keep_open": True},
         Fault("resource", wire=b"HTTP/1.1 200 OK\r\n\r\n", keep_open=True)),
        ({"where": "resource", "wire_base64": "AA=="}, Fault("resource", wire=b"\0")),
        ({"where": "any", "headers": {"Retry-After": "3"}, "delay": 1},
         Fault("any", headers={"Retry-After": "3"}, delay=1)),
    ],
)  # fmt: skip
def test_read(mapping: dict[str, Any], fault: Fault) -> None:
    """Every kind of field."""
    assert fault_from(mapping) == fault


@pytest.mark.parametrize(
    ("mapping", "words"),
    [
        ({}, "where: missing"),
        ({"where": "moon"}, "where: expected one of"),
        ({"where": "token", "tims": 1}, "tims: no such field"),
        ({"where": "token", "used": 1}, "used: no such field"),
        ({"where": "token", "times": "2"}, "times: expected int"),
        ({"where": "token", "times": True}, "times: expected int"),
        ({"where": "token", "hang": 1}, "hang: expected bool"),
        ({"where": "token", "delay": -1}, "delay: expected zero or more"),
        ({"where": "token", "headers": {"a": 1}}, "headers: expected strings"),
        ({"where": "token", "without": [1]}, "without: expected strings"),
        ({"where": "token", "code": 90002}, "code: expected str"),
        ({"where": "token", "code": "CMN_1"}, "unknown error code"),
        ({"where": "token", "shape": "round"}, "shape: expected one of"),
        ({"where": "token", "body_base64": "?"}, "body_base64: expected base64"),
    ],
)
def test_error_names_the_field(mapping: dict[str, Any], words: str) -> None:
    """Of an invalid fault."""
    with pytest.raises(ValueError, match=words):
        fault_from(mapping)


def test_shown_with_its_use() -> None:
    """Fields that are set."""
    fault = Fault("token", shape=b"hi", times=0, expires_in=None)
    assert shown_fault(fault) == {
        "where": "token",
        "shape": "hi",
        "times": 0,
        "expires_in": None,
        "used": 0,
    }
