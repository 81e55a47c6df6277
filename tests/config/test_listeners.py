"""Further ways in: what a listener takes from outside of it, and every mistake in one."""

from pathlib import Path
from typing import Any

import pytest

from proxy.config import loader
from proxy.config.listeners import ListenerConfig
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
    """Return a configuration with these listeners; what stands outside may be changed."""
    return loader.load(None, {}, {**OUTSIDE, **(outside or {}), "listeners": listeners})


def way(outside: dict[str, Any] | None = None, **written: Any) -> ListenerConfig:
    """Return the way in of a listener that is written so."""
    config = load(outside, payroll={"listen": "127.0.0.1:8091", **written})
    main, found = config.listener_configs
    assert (main.name, main.path, found.name) == ("main", "", "payroll")
    return found


def told(outside: dict[str, Any] | None = None, **listeners: Any) -> list[str]:
    """Return the mistakes in these listeners."""
    with pytest.raises(ConfigError) as caught:
        load(outside, **listeners)
    return caught.value.errors


def test_what_is_left_out_is_as_outside() -> None:
    """A listener of nothing but an address differs in nothing else."""
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


def test_institution_of_its_own() -> None:
    """Is the only one that may be asked for there, unless others are named."""
    assert way(institution_id="00017").permitted_institutions == {"00017"}
    several = way(institution_id="00017", allowed_institutions=["00018"])
    assert several.institution == "00017"
    assert several.permitted_institutions == {"00017", "00018"}
    assert way(allowed_institutions=[]).permitted_institutions == {"00016"}


def test_user_of_its_own() -> None:
    """Goes before the user of the institution."""
    user = way({"host_user_id": "880017"}, login_id="acorn.owner").user
    assert user is not None
    assert (user.login_id, user.host_user_id) == ("acorn.owner", None)


def test_sections_of_its_own() -> None:
    """Stand for themselves: nothing from outside is added."""
    outside = {"access": {"deny": ["/v1/transfers/**"]}}
    found = way(outside, access={"allow": ["/v1/**"]}, rewrite_links="false")
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
def test_mistake(written: dict[str, Any], mistake: str) -> None:
    """Each is told with its path, and with what to do."""
    assert any(text.startswith(mistake) for text in told(payroll=written)), told(payroll=written)


def test_mistakes_beside_each_other() -> None:
    """All at once: a name that is taken, one that is none, an address given twice."""
    errors = told(
        main={"listen": "127.0.0.1:8091"},
        other={"listen": "127.0.0.1:8091"},
        **{"One!": {"listen": "127.0.0.1:8092"}},
    )
    assert errors[0].startswith("listeners.One!")
    rest = told(main={"listen": "127.0.0.1:8091"}, other={"listen": "127.0.0.1:8091"})
    assert rest == [
        "listeners.main: this name belongs to `listen`; use another",
        "listeners.other.listen: 127.0.0.1:8091 is in use by listeners.main.listen too",
    ]


@pytest.mark.parametrize(("name", "setting"), [("main", "listen"), ("admin", "admin")])
def test_name_that_is_taken(name: str, setting: str) -> None:
    """What the status page and the metrics call the ports that there are anyway."""
    (mistake,) = told(**{name: {"listen": "127.0.0.1:8091"}})
    assert mistake == f"listeners.{name}: this name belongs to `{setting}`; use another"


def test_free_ports_are_not_the_same() -> None:
    """Port 0 stands for any, so it may be written more than once."""
    load({"listen": "127.0.0.1:0"}, a={"listen": "127.0.0.1:0"}, b={"listen": "127.0.0.1:0"})


def test_operator_s_word_counts_for_all() -> None:
    """Who trusts the network trusts it everywhere."""
    load({"trust_network": "true"}, payroll={"listen": "0.0.0.0:8091"})


def test_files_of_its_own_are_watched(tmp_path: Path) -> None:
    """A secret of a listener's callers that changes means another configuration."""
    secret = tmp_path / "secret"
    listen = {"listen": "127.0.0.1:1", "callers": {"secret_files": [str(secret)]}}
    assert secret in set(load(payroll=listen).files())


def test_as_many_as_may_be() -> None:
    """The names are labels of metrics, so there is a bound."""
    many = {f"l{at}": {"listen": f"127.0.0.1:{9000 + at}"} for at in range(33)}
    assert told(**many)[0].startswith("listeners: ")
