"""Further listeners: inherited settings and errors."""

from pathlib import Path
from typing import Any

import pytest

from proxy.config import loader
from proxy.config.listener_settings import ListenerConfig
from proxy.config.model import Config
from proxy.errors import ConfigError
from tests.support.running import CLIENT

OUTSIDE: dict[str, Any] = {
    **CLIENT,
    "base_url": "https://bank.test",
    "institution_id": "00016",
    "allowed_institutions": ["00017", "00018"],
    "listen": "127.0.0.1:8080",
}


def load(outside: dict[str, Any] | None = None, **listeners: Any) -> Config:
    """Return a configuration with these listeners; ``outside`` changes the other settings."""
    return loader.load(None, {}, {**OUTSIDE, **(outside or {}), "listeners": listeners})


def listener_of(outside: dict[str, Any] | None = None, **written: Any) -> ListenerConfig:
    """Return the listener with these settings."""
    config = load(outside, payroll={"listen": "127.0.0.1:8091", **written})
    main, found = config.listener_configs
    assert (main.name, main.path, found.name) == ("main", "", "payroll")
    return found


def errors_of(outside: dict[str, Any] | None = None, **listeners: Any) -> list[str]:
    """Return the errors of these listeners."""
    with pytest.raises(ConfigError) as caught:
        load(outside, **listeners)
    return caught.value.errors


def test_missing_settings_are_inherited() -> None:
    """A listener with an address only differs in nothing else."""
    access = {"deny": ["/v1/transfers/**"]}
    outside = {"access": access, "rewrite_links": "true", "public_url": "https://main.test"}
    config = load(outside, payroll={"listen": "127.0.0.1:8091"})
    main, found = config.listener_configs
    assert found.institution == main.institution == "00016"
    assert (
        found.permitted_institutions == main.permitted_institutions == {"00016", "00017", "00018"}
    )
    assert found.access is main.access
    assert found.callers is main.callers
    assert found.user is None
    assert found.rewrite_links
    assert (main.public_url, found.public_url) == ("https://main.test", "")


def test_own_institution_is_the_only_allowed_one() -> None:
    """Unless others are listed."""
    assert listener_of(institution_id="00017").permitted_institutions == {"00017"}
    several = listener_of(institution_id="00017", allowed_institutions=["00018"])
    assert several.institution == "00017"
    assert several.permitted_institutions == {"00017", "00018"}
    assert listener_of(allowed_institutions=[]).permitted_institutions == {"00016"}


def test_own_user_overrides_the_institutions() -> None:
    """For requests of this listener."""
    user = listener_of({"host_user_id": "880017"}, login_id="acorn.owner").user
    assert user is not None
    assert (user.login_id, user.host_user_id) == ("acorn.owner", None)


def test_own_sections_replace_the_outer_ones() -> None:
    """They are not merged."""
    outside = {"access": {"deny": ["/v1/transfers/**"]}}
    found = listener_of(outside, access={"allow": ["/v1/**"]}, rewrite_links="false")
    assert [path.path for path in found.access.allow] == ["/v1/**"]
    assert found.access.deny == ()


@pytest.mark.parametrize(
    ("written", "mistake"),
    [
        ({}, "listeners.payroll.listen: is required"),
        ({"listen": "nowhere"}, "listeners.payroll.listen: expected HOST:PORT"),
        (
            {"listn": "127.0.0.1:1"},
            "listeners.payroll.listn: no such setting; did you mean listeners.payroll.listen?",
        ),
        (
            {"listen": "127.0.0.1:8080"},
            "listeners.payroll.listen: 127.0.0.1:8080 is in use by listen too",
        ),
        (
            {"listen": "127.0.0.1:9090"},
            "listeners.payroll.listen: 127.0.0.1:9090 is in use by admin too",
        ),
        (
            {"listen": "0.0.0.0:8091"},
            "listeners.payroll.listen: other machines can reach 0.0.0.0:8091",
        ),
        (
            {"listen": "127.0.0.1:1", "institution_id": "00019"},
            "listeners.payroll.institution_id: 00019 is not configured",
        ),
        (
            {"listen": "127.0.0.1:1", "allowed_institutions": ["00019"]},
            "listeners.payroll.allowed_institutions: 00019 is not configured",
        ),
        (
            {"listen": "127.0.0.1:1", "host_user_id": "1", "login_id": "a"},
            "listeners.payroll.host_user_id: set host_user_id or login_id, not both",
        ),
        (
            {"listen": "127.0.0.1:1", "member_number": "1"},
            "listeners.payroll.member_number: needs listeners.payroll.login_id",
        ),
        (
            {"listen": "127.0.0.1:1", "public_url": "https://a.test/b"},
            "listeners.payroll.public_url: expected http://HOST[:PORT]",
        ),
        (
            {"listen": "127.0.0.1:1", "callers": {"client_names": "a"}},
            "listeners.payroll.callers.client_names: needs listeners.payroll.callers.client_ca",
        ),
        (
            {"listen": "unix:/tmp/x.sock", "callers": {"certificate_file": "/x"}},
            "listeners.payroll.callers.certificate_file: works with a TCP port",
        ),
        (
            {"listen": "127.0.0.1:1", "access": {"allow": ["v1"]}},
            "listeners.payroll.access.allow.0.path: 'v1' does not begin with a slash",
        ),
    ],
)
def test_error_has_path_and_remedy(written: dict[str, Any], mistake: str) -> None:
    """For each invalid listener."""
    assert any(text.startswith(mistake) for text in errors_of(payroll=written)), errors_of(
        payroll=written
    )


def test_all_errors_are_reported() -> None:
    """A reserved name, an invalid one, a duplicate address."""
    errors = errors_of(
        main={"listen": "127.0.0.1:8091"},
        other={"listen": "127.0.0.1:8091"},
        **{"One!": {"listen": "127.0.0.1:8092"}},
    )
    assert errors[0].startswith("listeners.One!")
    rest = errors_of(main={"listen": "127.0.0.1:8091"}, other={"listen": "127.0.0.1:8091"})
    assert rest == [
        "listeners.main: this name belongs to `listen`; use another",
        "listeners.other.listen: 127.0.0.1:8091 is in use by listeners.main.listen too",
    ]


@pytest.mark.parametrize(("name", "setting"), [("main", "listen"), ("admin", "admin")])
def test_reserved_name_is_refused(name: str, setting: str) -> None:
    """Names of the existing ports in status and metrics."""
    (mistake,) = errors_of(**{name: {"listen": "127.0.0.1:8091"}})
    assert mistake == f"listeners.{name}: this name belongs to `{setting}`; use another"


def test_port_0_may_occur_repeatedly() -> None:
    """Each listener gets its own port."""
    load({"listen": "127.0.0.1:0"}, a={"listen": "127.0.0.1:0"}, b={"listen": "127.0.0.1:0"})


def test_trust_network_applies_to_all() -> None:
    """It is one setting."""
    load({"trust_network": "true"}, payroll={"listen": "0.0.0.0:8091"})


def test_own_files_are_watched(tmp_path: Path) -> None:
    """A changed secret of a listener's callers is a changed configuration."""
    secret = tmp_path / "secret"
    listen = {"listen": "127.0.0.1:1", "callers": {"secret_files": [str(secret)]}}
    assert secret in set(load(payroll=listen).files())


def test_number_of_listeners_is_bounded() -> None:
    """Their names are metric labels."""
    many = {f"l{at}": {"listen": f"127.0.0.1:{9000 + at}"} for at in range(33)}
    assert errors_of(**many)[0].startswith("listeners: ")
