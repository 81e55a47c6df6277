"""Reload of secrets and configuration: verified first, then applied or reported."""

import asyncio
import os
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from proxy.config import loader
from proxy.config.model import Config
from proxy.errors import ConfigError
from proxy.runtime.reload import Reloader, fingerprint, watch
from proxy.sandbox import Fault
from proxy.telemetry.events import Event, Reloaded, ReloadFailed
from proxy.tokens.credentials import Logins
from tests.support.mounted_files import MountedSecret, write
from tests.support.proxy_fixture import BackgroundLoad, ProxyFixture, proxy_fixture, sample
from tests.support.running import CLIENT, until

OLD, NEW, WRONG = CLIENT["client_secret"], "rotated-secret", "no-secret-of-the-bank"


@pytest.fixture
def mount(tmp_path: Path) -> MountedSecret:
    """The client secret in a mounted Secret."""
    return MountedSecret(tmp_path / "secret", client_secret=OLD)


@pytest.fixture
async def fixture(tmp_path: Path, mount: MountedSecret) -> AsyncIterator[ProxyFixture]:
    """A proxy with its secret in a mounted Secret."""
    secret = str(mount / "client_secret")
    async with proxy_fixture(tmp_path / "proxy.yaml", client_secret_file=secret) as fixture:
        yield fixture


async def test_swapped_secret_is_verified_and_applied(
    fixture: ProxyFixture, mount: MountedSecret
) -> None:
    """A Secret that Kubernetes updates is tried at the bank first."""
    asked = len(fixture.bank.bank.token_requests)
    fixture.rotate(sandbox_client=NEW)
    mount.swap(client_secret=NEW)
    await fixture.wait_for_reload()
    assert [one.outcome for one in fixture.bank.bank.token_requests][asked:] == ["ok"]
    await fetch(fixture)
    assert [one.outcome for one in fixture.bank.bank.token_requests][asked:] == ["ok", "ok"]
    assert await fixture.call() == 200
    assert fixture.log.lines("configuration reloaded")[0]["why"] == "file"


async def fetch(fixture: ProxyFixture) -> None:
    """Fetch a token, whether or not it is due."""
    entry = next(fixture.app.tokens.entries())
    fixture.app.tokens.start_refresh(entry)
    await until(lambda: entry.fetch is None)


async def test_secret_written_in_place_is_applied(tmp_path: Path) -> None:
    """A file that an editor writes is noticed like a swapped mount."""
    secret = tmp_path / "secret"
    write(secret, OLD)
    async with proxy_fixture(tmp_path / "proxy.yaml", client_secret_file=str(secret)) as fixture:
        fixture.rotate(sandbox_client=NEW)
        write(secret, NEW + "\n")
        await fixture.wait_for_reload()
        assert fixture.app._core.logins.default.credentials.client_secret == NEW


async def test_wrong_then_empty_then_good_secret(
    fixture: ProxyFixture, mount: MountedSecret
) -> None:
    """A bad secret leaves the old one in use and appears in log, metric and /readyz."""
    for content, why in ((WRONG, "client id and secret"), ("", "is empty")):
        refused = fixture.reloads("failure")
        mount.swap(client_secret=content)
        await fixture.wait_for_failed_reload(int(refused) + 1)
        assert not fixture.is_current
        status, document = await fixture.admin("/readyz")
        assert (status, document["status"]) == (200, "ready")
        assert why in document["warnings"][0]
        assert why in fixture.log.lines("configuration reload failed")[-1]["detail"]
        assert await fixture.call() == 200
    fixture.rotate(sandbox_client=NEW)
    mount.swap(client_secret=NEW)
    await fixture.wait_for_reload()
    assert fixture.is_current
    assert (await fixture.admin("/readyz"))[1]["warnings"] == []
    assert await fixture.call() == 200
    assert WRONG not in fixture.log.getvalue()


async def test_restored_secret_clears_the_warning(tmp_path: Path) -> None:
    """Undoing a mistake is noticed although nothing new is applied."""
    good, bad, current = (tmp_path / name for name in ("good", "bad", "current"))
    write(good, OLD)
    write(bad, "wrong")
    current.symlink_to(good)
    async with proxy_fixture(tmp_path / "proxy.yaml", client_secret_file=str(current)) as fixture:
        repoint(current, bad)
        await fixture.wait_for_failed_reload()
        repoint(current, good)
        await until(lambda: fixture.is_current)
        assert fixture.warnings() == []


def repoint(link: Path, target: Path) -> None:
    """Point a link at another file atomically."""
    fresh = link.with_name("fresh")
    fresh.symlink_to(target)
    fresh.replace(link)


async def test_secret_replaced_in_the_middle_of_a_fetch(
    fixture: ProxyFixture, mount: MountedSecret
) -> None:
    """A fetch with the old secret and the verification of the new one coexist."""
    bank = fixture.bank.bank
    bank.faults.append(Fault("token", delay=0.5, times=1))
    entry = next(fixture.app.tokens.entries())
    fixture.app.tokens.start_refresh(entry)
    await until(lambda: len(bank.token_requests) == 2)
    fixture.rotate(sandbox_client=NEW)
    async with BackgroundLoad(fixture) as load:
        mount.swap(client_secret=NEW)
        await fixture.wait_for_reload()
    assert load.statuses.keys() == {200}
    assert fixture.log.lines("token refresh failed") == []


async def test_secret_that_changes_while_it_is_verified(
    fixture: ProxyFixture, mount: MountedSecret
) -> None:
    """The second change is verified next."""
    fixture.bank.bank.faults.append(Fault("token", delay=0.3, times=1))
    asked = len(fixture.bank.bank.token_requests)
    mount.swap(client_secret="wrong")
    await until(lambda: len(fixture.bank.bank.token_requests) > asked)
    fixture.rotate(sandbox_client=NEW)
    mount.swap(client_secret=NEW)
    await fixture.wait_for_reload()
    assert fixture.is_current
    assert fixture.app._core.logins.default.credentials.client_secret == NEW


async def test_rotation_under_load_fails_no_request(
    fixture: ProxyFixture, mount: MountedSecret
) -> None:
    """Ten rotations under load, and every response is a 200."""
    async with BackgroundLoad(fixture) as load:
        for turn in range(1, 11):
            fixture.rotate(sandbox_client=f"secret-{turn}")
            mount.swap(client_secret=f"secret-{turn}")
            await fixture.wait_for_reload(turn)
    assert load.statuses.keys() == {200}
    assert fixture.reloads("failure") == 0


async def test_unreachable_bank_postpones_a_secret(
    fixture: ProxyFixture, mount: MountedSecret, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The change is verified again later, without another change."""
    monkeypatch.setattr("proxy.runtime.reload.RETRY_SOON", 0.1)
    fixture.bank.bank.faults.append(Fault("token", status=503, times=2))
    fixture.rotate(sandbox_client=NEW)
    mount.swap(client_secret=NEW)
    await fixture.wait_for_reload()
    assert fixture.reloads("failure") >= 2
    assert fixture.is_current


async def test_removed_secret_leaves_the_old_in_use(tmp_path: Path) -> None:
    """A missing file is reported."""
    secret = tmp_path / "secret"
    write(secret, OLD)
    async with proxy_fixture(tmp_path / "proxy.yaml", client_secret_file=str(secret)) as fixture:
        secret.unlink()
        await fixture.wait_for_failed_reload()
        assert "cannot be read" in fixture.warnings()[0]
        assert await fixture.call() == 200


async def test_password_is_verified_by_itself(tmp_path: Path) -> None:
    """A wrong new password is found although the refresh token would still work."""
    password = tmp_path / "password"
    write(password, "moonlight")
    async with proxy_fixture(
        tmp_path / "proxy.yaml",
        client_secret_file=secret_in(tmp_path),
        username="juniper",
        password_file=str(password),
    ) as fixture:
        write(password, "sunlight")
        await fixture.wait_for_failed_reload()
        assert "The bank refused the user" in fixture.warnings()[0]
        assert await fixture.call() == 200


async def test_changed_user_gets_new_tokens(tmp_path: Path) -> None:
    """Token and refresh token of the former user are dropped."""
    write(tmp_path / "password", "moonlight")
    async with proxy_fixture(
        tmp_path / "proxy.yaml",
        client_secret_file=secret_in(tmp_path),
        password_file=str(tmp_path / "password"),
        refresh_token_file=str(tmp_path / "tokens.json"),
        username="juniper",
    ) as fixture:
        write(tmp_path / "password", "lanterns")
        fixture.write(username="acorn")
        await until(lambda: fixture.app._core.config.username == "acorn")
        await fetch(fixture)
        users = [token.user for token in fixture.bank.bank.tokens.values() if not token.refresh]
        assert [user.username for user in users if user] == ["juniper", "acorn", "acorn"]


async def test_configuration_file_is_reloaded(fixture: ProxyFixture) -> None:
    """Changed settings are applied."""
    assert await fixture.call(headers={"institutionId": "00017"}) == 403
    fixture.write(allowed_institutions=["00017"])
    await fixture.wait_for_reload()
    assert await fixture.call(headers={"institutionId": "00017"}) == 200


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"tokn": {"timeout": "1"}}, "tokn: no such setting"),
        ({"institution_id": None}, "institution_id: is required"),
        ({"listen": "127.0.0.1:1"}, "listen: changed; restart the proxy to apply it"),
        ({"limits": {"max_body": "1"}}, "limits: changed; restart"),
        ({"callers": {"socket_mode": "666"}}, "callers.socket_mode: changed; restart"),
        ({"upstream": {"ca_file": "/nowhere.pem"}, "base_url": "https://x"}, "ca_file"),
        ({"institution_id": "99999"}, "refused the institution"),
        ({"base_url": "http://127.0.0.1:9"}, "refuse connections"),
    ],
)
async def test_bad_configuration_is_not_applied(
    fixture: ProxyFixture, changes: dict[str, object], why: str
) -> None:
    """An error, a change that needs a restart, or a refusal of the bank."""
    core = fixture.app._core
    fixture.write(**changes)
    await fixture.wait_for_failed_reload()
    assert why in fixture.warnings()[0]
    assert why in fixture.log.lines("configuration reload failed")[0]["detail"]
    assert not fixture.is_current
    assert fixture.app._core is core
    assert await fixture.call() == 200


async def test_broken_yaml_is_not_applied(fixture: ProxyFixture) -> None:
    """A partly written file is refused and read again later."""
    write(fixture.file, "base_url: [")
    await fixture.wait_for_failed_reload()
    assert "proxy.yaml: line" in fixture.warnings()[0]
    fixture.write()
    await until(lambda: fixture.is_current)
    assert await fixture.call() == 200


async def test_reload_endpoint(tmp_path: Path) -> None:
    """POST /-/reload responds 200 or 409, and /readyz gives the reason."""
    file = tmp_path / "proxy.yaml"
    async with proxy_fixture(
        file, client_secret=None, client_secret_file=secret_in(tmp_path), admin_actions="true",
        reload_interval="0",
    ) as fixture:  # fmt: skip
        fixture.write(allowed_institutions=["00017"])
        assert (await fixture.admin("/-/reload"))[0] == 405
        assert await fixture.admin("/-/reload", "POST") == (200, {"status": "success"})
        assert await fixture.call(headers={"institutionId": "00017"}) == 200
        fixture.write(institution_id="x")
        assert (await fixture.admin("/-/reload", "POST"))[0] == 409
        assert "institution_id" in fixture.warnings()[0]
        assert fixture.log.lines("configuration reloaded")[0]["why"] == "admin"


async def test_reload_endpoint_is_disabled_by_default(fixture: ProxyFixture) -> None:
    """Reading metrics does not imply the right to act."""
    assert (await fixture.admin("/-/reload", "POST"))[0] == 404


async def test_interval_of_zero_watches_nothing(tmp_path: Path) -> None:
    """Files are read on request only."""
    secret = secret_in(tmp_path)
    async with proxy_fixture(
        tmp_path / "proxy.yaml", client_secret_file=secret, reload_interval="0"
    ) as fixture:
        write(Path(secret), "wrong")
        await asyncio.wait_for(fixture.app._reloader.run(), 1)
        assert fixture.warnings() == []
        assert not await fixture.app.reload("signal")


async def test_download_begun_before_a_reload_is_finished(
    fixture: ProxyFixture, mount: MountedSecret
) -> None:
    """It keeps its connection, and the shutdown waits for it."""
    fixture.bank.bank.faults.append(Fault("resource", dribble=0.001, path_prefix="/download"))
    async with fixture.caller.get("/download?bytes=500") as response:
        fixture.write(allowed_institutions=["00017"])
        await fixture.wait_for_reload()
        assert len(fixture.app._retired) == 1
        stopping = asyncio.create_task(fixture.app._wait_idle(5))
        body = await response.read()
        await stopping
    assert len(body) == 500
    await until(lambda: not fixture.app._retired)


async def test_caller_connection_survives_a_reload(fixture: ProxyFixture) -> None:
    """A persistent connection stays open."""
    assert await fixture.call() == 200
    served = fixture.app.connection_count
    fixture.write(allowed_institutions=["00017"])
    await fixture.wait_for_reload()
    assert await fixture.call() == 200
    assert (served, fixture.app.connection_count) == (1, 1)


async def test_nothing_remains_of_replaced_cores(fixture: ProxyFixture) -> None:
    """After twenty reloads the numbers of tasks and connections are as before."""
    assert await fixture.call() == 200
    tasks, connections = len(asyncio.all_tasks()), fixture.bank.connections
    for _ in range(20):
        assert await fixture.app.reload("signal")
        assert await fixture.call() == 200
    await until(lambda: fixture.bank.connections <= connections)
    await until(lambda: len(asyncio.all_tasks()) <= tasks)


async def test_reload_during_the_drain_is_refused(
    fixture: ProxyFixture, mount: MountedSecret
) -> None:
    """A proxy that shuts down starts nothing."""
    fixture.bank.bank.faults.append(Fault("token", delay=0.3))
    fixture.rotate(sandbox_client=NEW)
    mount.swap(client_secret=NEW)
    reloading = asyncio.create_task(fixture.app.reload("signal"))
    await until(lambda: len(fixture.bank.bank.token_requests) > 1)
    fixture.app._draining = True
    assert not await reloading
    assert "shutting down" in fixture.warnings()[0]


async def test_retired_metrics_do_not_count_twice(fixture: ProxyFixture) -> None:
    """Requests before and after a reload are in one series."""
    for _ in range(3):
        assert await fixture.call() == 200
        assert await fixture.app.reload("signal")
    assert sample(fixture.app, "candescent_proxy_requests_total", status="200") == 3


# The reloader alone.


def secret_in(directory: Path) -> str:
    """Return the path of a file with the good secret."""
    write(directory / "secret", OLD)
    return str(directory / "secret")


class RecordingApp:
    """Replaces the App: reads a file, and records what is applied and reported."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.applied: list[str] = []
        self.events: list[Event] = []
        self.reloader = Reloader(
            self.load, self.apply, [], extra_files=[file], emit=self.events.append, interval=0.01
        )

    def load(self) -> tuple[Config, Logins]:
        """Read the configuration from the file."""
        match self.file.read_text():
            case "crash":
                raise RuntimeError("nobody has thought of this")
            case "mistake":
                raise ConfigError(["a mistake"])
            case institution:
                config = loader.load(
                    None,
                    {},
                    {**CLIENT, "base_url": "http://127.0.0.1", "institution_id": institution},
                )
                return config, loader.logins(config)

    async def apply(self, config: Config, _logins: Logins) -> None:
        """Record the configuration."""
        self.applied.append(config.institution_id)


async def test_unexpected_error_does_not_stop_the_reloader(tmp_path: Path) -> None:
    """The error is reported, and the next change is applied."""
    write(tmp_path / "file", "1")
    receiver = RecordingApp(tmp_path / "file")
    watch = asyncio.create_task(receiver.reloader.run())
    write(receiver.file, "crash")
    await until(lambda: receiver.events)
    assert isinstance(receiver.events[0], ReloadFailed)
    assert isinstance(receiver.events[0].error, RuntimeError)
    assert receiver.reloader.failure
    write(receiver.file, "22")
    await until(lambda: len(receiver.events) > 1)
    assert receiver.applied == ["22"]
    assert receiver.events[1] == Reloaded("file")
    assert receiver.reloader.failure == ""
    watch.cancel()


async def test_only_changed_credentials_count_as_rotation(
    fixture: ProxyFixture, mount: MountedSecret
) -> None:
    """Whether they are applied or refused."""
    fixture.write(upstream={"max_connections": 7})
    await fixture.wait_for_reload()
    assert rotations(fixture) == (0, 0)
    mount.swap(client_secret=WRONG)
    await fixture.wait_for_failed_reload()
    assert rotations(fixture) == (0, 1)
    fixture.rotate(sandbox_client=NEW)
    mount.swap(client_secret=NEW)
    await fixture.wait_for_reload(2)
    assert rotations(fixture) == (1, 1)
    token = {"kind": "v2", "institution": "00016", "trigger": "reload"}
    assert sample(fixture.app, "candescent_proxy_token_refreshes_total", **token) == 1
    assert sample(fixture.app, "candescent_proxy_reload_failures_total", reason="token") == 1


def rotations(fixture: ProxyFixture) -> tuple[float, float]:
    """Return how many rotations succeeded, and how many failed."""
    name = "candescent_proxy_secret_rotations_total"
    taken, refused = (sample(fixture.app, name, result=result) for result in ("success", "failure"))
    return taken, refused


async def test_unchanged_error_is_reported_once(tmp_path: Path) -> None:
    """A bad file does not fill the log."""
    write(tmp_path / "file", "1")
    receiver = RecordingApp(tmp_path / "file")
    watch = asyncio.create_task(receiver.reloader.run())
    write(receiver.file, "mistake")
    await until(lambda: receiver.events)
    await asyncio.sleep(0.1)  # ten checks of the file
    assert len(receiver.events) == 1
    watch.cancel()


async def test_watch_reports_each_change_once(tmp_path: Path) -> None:
    """A file that appears, changes and disappears."""
    file, reported = tmp_path / "file", list[bool]()
    watching = asyncio.create_task(watch(file, 0.01, lambda: reported.append(file.exists())))
    await asyncio.sleep(0.05)
    write(file, "one")
    await until(lambda: reported == [True])
    write(file, "another")
    await until(lambda: reported == [True, True])
    file.unlink()
    await until(lambda: reported == [True, True, False])
    watching.cancel()


def test_fingerprint_depends_on_every_kind_of_change(tmp_path: Path) -> None:
    """In place, replaced, through a link, removed."""
    file, link = tmp_path / "file", tmp_path / "link"
    link.symlink_to(file)
    fingerprints = [fingerprint([link])]
    write(file, "one")
    fingerprints.append(fingerprint([link]))
    write(file, "three")
    fingerprints.append(fingerprint([link]))
    write(tmp_path / "other", "three")
    (tmp_path / "other").replace(file)
    fingerprints.append(fingerprint([link]))
    write(tmp_path / "third", "three")
    repoint(link, tmp_path / "third")
    fingerprints.append(fingerprint([link]))
    assert all(
        one != other for at, one in enumerate(fingerprints) for other in fingerprints[at + 1 :]
    )
    assert fingerprint([link]) == fingerprints[-1]


async def test_loosened_rule_is_logged(fixture: ProxyFixture) -> None:
    """A reload that permits more names the setting, at level warning."""
    fixture.write(allowed_institutions=["00017"])
    await fixture.wait_for_reload()
    text = "the reloaded configuration permits more: allowed_institutions: now permits 00017"
    assert fixture.log.lines(text)[0]["level"] == "warning"


async def test_refused_content_is_tried_once(fixture: ProxyFixture, mount: MountedSecret) -> None:
    """A hundred reloads with the same wrong secret are one token call."""
    mount.swap(client_secret=WRONG)
    await fixture.wait_for_failed_reload()
    asked = len(fixture.bank.bank.token_requests)
    for _ in range(100):
        assert not await fixture.app.reload("signal")
    assert len(fixture.bank.bank.token_requests) == asked
    fixture.rotate(sandbox_client=NEW)
    mount.swap(client_secret=NEW)
    await fixture.wait_for_reload()


async def test_reload_keeps_the_last_use(fixture: ProxyFixture) -> None:
    """An unused token is released after ``token.idle``, however often files change."""
    fixture.write(allowed_institutions=["00017"])
    await fixture.wait_for_reload()
    assert await fixture.call(headers={"institutionId": "00017"}) == 200
    before = {entry.key: entry.used_at for entry in fixture.app.tokens.entries()}
    assert await fixture.app.reload("signal")
    assert {entry.key: entry.used_at for entry in fixture.app.tokens.entries()} == before


async def test_pipe_in_the_place_of_a_file_is_refused(tmp_path: Path) -> None:
    """Nothing waits for its writer."""
    secret = tmp_path / "secret"
    write(secret, OLD)
    async with proxy_fixture(tmp_path / "proxy.yaml", client_secret_file=str(secret)) as fixture:
        for file in (secret, fixture.file):
            content = file.read_text()
            file.unlink()
            os.mkfifo(file)
            assert not await fixture.app.reload("signal")
            assert f"{file} cannot be read (it is a pipe" in fixture.warnings()[0].replace(
                ": c", " c"
            )
            file.unlink()
            write(file, content)


async def test_hanging_share_stops_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are read on a thread, with a deadline."""
    monkeypatch.setattr("proxy.runtime.reload.READ_TIME", 0.05)
    write(tmp_path / "file", "1")
    receiver, answer = RecordingApp(tmp_path / "file"), threading.Event()

    def hang() -> tuple[Config, Logins]:
        answer.wait()
        raise AssertionError

    receiver.reloader._load = hang
    try:
        assert not await receiver.reloader.reload("signal")
    finally:
        answer.set()
    assert "could not be read within 0.05 s" in receiver.reloader.failure


async def test_change_is_applied_after_two_equal_looks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that grows between two looks is not read."""
    write(tmp_path / "file", "1")
    receiver = RecordingApp(tmp_path / "file")
    looks = iter([*range(50), 50])

    async def look(_files: object) -> object:
        return next(looks, 50)

    monkeypatch.setattr("proxy.runtime.reload._look", look)
    watching = asyncio.create_task(receiver.reloader.run())
    await until(lambda: receiver.applied)
    watching.cancel()
    assert next(looks, None) is None
    assert receiver.applied[0] == "1"
