"""Configuration errors in words."""

from pathlib import Path

import pytest

from proxy.cli.commands import common
from proxy.config.explain import FLAGS
from tests.config.test_loader import errors_of, named, yaml


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "upstream: {connect_timeout: soon}",
            (
                "upstream.connect_timeout: expected a duration, such as 5s, 500ms or 2m; "
                'got "soon" (CANDESCENT_UPSTREAM__CONNECT_TIMEOUT)'
            ),
        ),
        (
            "upstream: {connect_timeout: -5}",
            (
                "upstream.connect_timeout: must be more than 0s, such as 5s; "
                'got "-5" (CANDESCENT_UPSTREAM__CONNECT_TIMEOUT)'
            ),
        ),
        (
            "limits: {max_head: 2MiB}",
            (
                'limits.max_head: must be at most 1MiB, such as 64KiB; got "2MiB" '
                "(CANDESCENT_LIMITS__MAX_HEAD)"
            ),
        ),
        (
            "limits: {max_body: huge}",
            (
                "limits.max_body: expected a size, such as 64KiB, 50MB or 8190 (bytes); "
                'got "huge" (CANDESCENT_LIMITS__MAX_BODY)'
            ),
        ),
        (
            "access: {allow: /v1/**}",
            'access.allow: expected a list, such as [/v1/**]; got "/v1/**"',
        ),
        (
            "revoke_on_shutdown: maybe",
            (
                "revoke_on_shutdown: expected true or false; "
                'got "maybe" (CANDESCENT_REVOKE_ON_SHUTDOWN)'
            ),
        ),
        (
            "log: {level: loud}",
            (
                "log.level: expected 'debug', 'info', 'warning' or 'error'; "
                'got "loud" (CANDESCENT_LOG_LEVEL, --log-level)'
            ),
        ),
        (
            "listen: desk",
            (
                "listen: expected HOST:PORT or unix:/PATH, such as 127.0.0.1:8080; "
                'got "desk" (CANDESCENT_LISTEN, --listen)'
            ),
        ),
        (
            "limits: {max_body: [5]}",
            (
                "limits.max_body: expected a size, such as 64KiB, 50MB or 8190 (bytes) "
                "(CANDESCENT_LIMITS__MAX_BODY)"
            ),
        ),
        (
            'log: {access_format: "{pth}"}',
            (
                "log.access_format: {pth} is not a field; did you mean {path}? "
                "(CANDESCENT_LOG__ACCESS_FORMAT)"
            ),
        ),
        (
            "listen: 9090",
            "listen: 127.0.0.1:9090 is in use by admin too (CANDESCENT_LISTEN, --listen)",
        ),
        ("log: info", 'log: expected settings below it, as `name: value`; got "info"'),
        ("tokne: {timeout: 5}", "tokne: no such setting; did you mean token?"),
    ],
)
def test_error_says_what_is_expected_and_where(tmp_path: Path, text: str, message: str) -> None:
    """With an example, the given value, variable and flag."""
    (line,) = errors_of(file=yaml(tmp_path, text))
    assert line.removeprefix(f"{tmp_path}/proxy.yaml: ") == message


@pytest.mark.parametrize("variable", ["INSTITUTION_ID", "CLIENT_SECRET", "BASE_URL"])
def test_value_that_may_be_a_secret_is_not_repeated(variable: str) -> None:
    """Also if two variables are confused."""
    reported = errors_of(named({variable: "https://someone:hush\x07@hush"}))
    assert "hush" not in " ".join(reported)


def test_flags_are_those_of_the_command_line() -> None:
    """An error names existing flags only."""
    assert set(FLAGS) == set(common.FLAGS)
