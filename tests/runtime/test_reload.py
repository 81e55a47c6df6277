"""Secrets and configuration that change under a running proxy: tried first, then taken, or told."""

import asyncio
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
from tests.support.mounted_files import Mount, write
from tests.support.proxy_fixture import House, Load, house, sample
from tests.support.running import CLIENT, until

OLD, NEW, WRONG = CLIENT["client_secret"], "rotated-secret", "no-secret-of-the-bank"


@pytest.fixture
def mount(tmp_path: Path) -> Mount:
    """The client secret, as Kubernetes mounts it."""
    return Mount(tmp_path / "secret", client_secret=OLD)


@pytest.fixture
async def home(tmp_path: Path, mount: Mount) -> AsyncIterator[House]:
    """A proxy with its secret in a mount."""
    secret = str(mount / "client_secret")
    async with house(tmp_path / "proxy.yaml", client_secret_file=secret) as home:
        yield home


async def test_swapped_secret_is_tried_and_taken(home: House, mount: Mount) -> None:
    """A Secret that Kubernetes updates is shown to the bank before, and in force afterwards."""
    asked = len(home.bank.bank.token_requests)
    home.rotate(sandbox_client=NEW)
    mount.swap(client_secret=NEW)
    await home.taken()
    assert [one.outcome for one in home.bank.bank.token_requests][asked:] == ["ok"]
    await renew(home)
    assert [one.outcome for one in home.bank.bank.token_requests][asked:] == ["ok", "ok"]
    assert await home.call() == 200
    assert home.book.lines("configuration reloaded")[0]["why"] == "file"


async def renew(home: House) -> None:
    """Have the proxy ask for a token, whether or not it is due."""
    entry = next(home.app.tokens.entries())
    home.app.tokens.start_refresh(entry)
    await until(lambda: entry.fetch is None)


async def test_secret_written_in_place_is_taken(tmp_path: Path) -> None:
    """A file that an editor or a script writes is noticed like a mount that is swapped."""
    secret = tmp_path / "secret"
    write(secret, OLD)
    async with house(tmp_path / "proxy.yaml", client_secret_file=str(secret)) as home:
        home.rotate(sandbox_client=NEW)
        write(secret, NEW + "\n")
        await home.taken()
        assert home.app._core.logins.default.credentials.client_secret == NEW


async def test_wrong_then_empty_then_good_secret(home: House, mount: Mount) -> None:
    """A bad secret leaves the old one in force and shows in log, metric and /readyz."""
    for content, why in ((WRONG, "client id and secret"), ("", "is empty")):
        refused = home.reloads("failure")
        mount.swap(client_secret=content)
        await home.refused(int(refused) + 1)
        assert not home.is_as_written
        status, document = await home.admin("/readyz")
        assert (status, document["status"]) == (200, "ready")
        assert why in document["warnings"][0]
        assert why in home.book.lines("configuration reload failed")[-1]["detail"]
        assert await home.call() == 200
    home.rotate(sandbox_client=NEW)
    mount.swap(client_secret=NEW)
    await home.taken()
    assert home.is_as_written
    assert (await home.admin("/readyz"))[1]["warnings"] == []
    assert await home.call() == 200
    assert WRONG not in home.book.getvalue()


async def test_secret_that_comes_back_ends_the_warning(tmp_path: Path) -> None:
    """An operator who undoes a mistake sees it gone, though nothing new was taken."""
    good, bad, current = (tmp_path / name for name in ("good", "bad", "current"))
    write(good, OLD)
    write(bad, "wrong")
    current.symlink_to(good)
    async with house(tmp_path / "proxy.yaml", client_secret_file=str(current)) as home:
        swing(current, bad)
        await home.refused()
        swing(current, good)
        await until(lambda: home.is_as_written)
        assert home.warnings() == []


def swing(link: Path, target: Path) -> None:
    """Let a link lead to another file, in one step."""
    fresh = link.with_name("fresh")
    fresh.symlink_to(target)
    fresh.replace(link)


async def test_secret_replaced_in_the_middle_of_a_fetch(home: House, mount: Mount) -> None:
    """A token request under way with the old secret and the trial of the new disturb nobody."""
    bank = home.bank.bank
    bank.faults.append(Fault("token", delay=0.5, times=1))
    entry = next(home.app.tokens.entries())
    home.app.tokens.start_refresh(entry)
    await until(lambda: len(bank.token_requests) == 2)
    home.rotate(sandbox_client=NEW)
    async with Load(home) as load:
        mount.swap(client_secret=NEW)
        await home.taken()
    assert load.statuses.keys() == {200}
    assert home.book.lines("token refresh failed") == []


async def test_secret_that_changes_again_while_it_is_tried(home: House, mount: Mount) -> None:
    """What changes during a slow trial is not missed: it is tried next."""
    home.bank.bank.faults.append(Fault("token", delay=0.3, times=1))
    asked = len(home.bank.bank.token_requests)
    mount.swap(client_secret="wrong")
    await until(lambda: len(home.bank.bank.token_requests) > asked)
    home.rotate(sandbox_client=NEW)
    mount.swap(client_secret=NEW)
    await home.taken()
    assert home.is_as_written
    assert home.app._core.logins.default.credentials.client_secret == NEW


async def test_rotation_under_load_fails_no_request(home: House, mount: Mount) -> None:
    """Ten rotations while callers never rest: every answer is the bank's 200."""
    async with Load(home) as load:
        for turn in range(1, 11):
            home.rotate(sandbox_client=f"secret-{turn}")
            mount.swap(client_secret=f"secret-{turn}")
            await home.taken(turn)
    assert load.statuses.keys() == {200}
    assert home.reloads("failure") == 0


async def test_bank_that_is_down_postpones_a_good_secret(
    home: House, mount: Mount, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A change that could not be tried is tried again by itself, without another change."""
    monkeypatch.setattr("proxy.runtime.reload.RETRY_SOON", 0.1)
    home.bank.bank.faults.append(Fault("token", status=503, times=2))
    home.rotate(sandbox_client=NEW)
    mount.swap(client_secret=NEW)
    await home.taken()
    assert home.reloads("failure") >= 2
    assert home.is_as_written


async def test_removed_secret_leaves_the_old_in_force(tmp_path: Path) -> None:
    """A file that is taken away is a mistake to tell, no reason to stop."""
    secret = tmp_path / "secret"
    write(secret, OLD)
    async with house(tmp_path / "proxy.yaml", client_secret_file=str(secret)) as home:
        secret.unlink()
        await home.refused()
        assert "cannot be read" in home.warnings()[0]
        assert await home.call() == 200


async def test_password_is_tried_as_itself(tmp_path: Path) -> None:
    """A wrong new password is found out although the refresh token would still renew."""
    password = tmp_path / "password"
    write(password, "moonlight")
    async with house(
        tmp_path / "proxy.yaml",
        client_secret_file=secret_in(tmp_path),
        username="juniper",
        password_file=str(password),
    ) as home:
        write(password, "sunlight")
        await home.refused()
        assert "The bank refused the user" in home.warnings()[0]
        assert await home.call() == 200


async def test_another_user_gets_tokens_of_their_own(tmp_path: Path) -> None:
    """After a change of user, neither token nor refresh token of the former one is used."""
    write(tmp_path / "password", "moonlight")
    async with house(
        tmp_path / "proxy.yaml",
        client_secret_file=secret_in(tmp_path),
        password_file=str(tmp_path / "password"),
        refresh_token_file=str(tmp_path / "tokens.json"),
        username="juniper",
    ) as home:
        write(tmp_path / "password", "lanterns")
        home.write(username="acorn")
        await until(lambda: home.app._core.config.username == "acorn")
        await renew(home)
        users = [token.user for token in home.bank.bank.tokens.values() if not token.refresh]
        assert [user.username for user in users if user] == ["juniper", "acorn", "acorn"]


async def test_configuration_file_is_taken(home: House) -> None:
    """A changed configuration file is noticed, and its settings are in force."""
    assert await home.call(headers={"institutionId": "00017"}) == 403
    home.write(allowed_institutions=["00017"])
    await home.taken()
    assert await home.call(headers={"institutionId": "00017"}) == 200


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"tokn": {"timeout": "1"}}, "tokn: no such setting"),
        ({"institution_id": None}, "institution_id: is required"),
        ({"listen": "127.0.0.1:1"}, "listen: changed; restart the proxy to take it"),
        ({"limits": {"max_body": "1"}}, "limits: changed; restart"),
        ({"callers": {"socket_mode": "666"}}, "callers.socket_mode: changed; restart"),
        ({"upstream": {"ca_file": "/nowhere.pem"}, "base_url": "https://x"}, "ca_file"),
        ({"institution_id": "99999"}, "check institution_id"),
        ({"base_url": "http://127.0.0.1:9"}, "The bank cannot be reached"),
    ],
)
async def test_bad_configuration_changes_nothing(
    home: House, changes: dict[str, object], why: str
) -> None:
    """A mistake, a change that needs a restart, a bank that refuses: told, and nothing taken."""
    core = home.app._core
    home.write(**changes)
    await home.refused()
    assert why in home.warnings()[0]
    assert why in home.book.lines("configuration reload failed")[0]["detail"]
    assert not home.is_as_written
    assert home.app._core is core
    assert await home.call() == 200


async def test_broken_yaml_changes_nothing(home: House) -> None:
    """Half a file, as an editor may leave it for a moment, is refused and read again."""
    write(home.file, "base_url: [")
    await home.refused()
    assert "proxy.yaml: line" in home.warnings()[0]
    home.write()
    await until(lambda: home.is_as_written)
    assert await home.call() == 200


async def test_reload_by_the_admin_port(tmp_path: Path) -> None:
    """POST /-/reload says 200 when taken and 409 when not, and /readyz then says why."""
    file = tmp_path / "proxy.yaml"
    async with house(
        file, client_secret=None, client_secret_file=secret_in(tmp_path), admin_actions="true",
        reload_interval="0",
    ) as home:  # fmt: skip
        home.write(allowed_institutions=["00017"])
        assert (await home.admin("/-/reload"))[0] == 405
        assert await home.admin("/-/reload", "POST") == (200, {"status": "success"})
        assert await home.call(headers={"institutionId": "00017"}) == 200
        home.write(institution_id="x")
        assert (await home.admin("/-/reload", "POST"))[0] == 409
        assert "institution_id" in home.warnings()[0]
        assert home.book.lines("configuration reloaded")[0]["why"] == "admin"


async def test_admin_port_offers_no_reload_unless_allowed(home: House) -> None:
    """Whoever may read metrics may not yet act."""
    assert (await home.admin("/-/reload", "POST"))[0] == 404


async def test_interval_of_zero_watches_nothing(tmp_path: Path) -> None:
    """With reload_interval 0 files are read when somebody asks, and only then."""
    secret = secret_in(tmp_path)
    async with house(
        tmp_path / "proxy.yaml", client_secret_file=secret, reload_interval="0"
    ) as home:
        write(Path(secret), "wrong")
        await asyncio.wait_for(home.app._reloader.run(), 1)
        assert home.warnings() == []
        assert not await home.app.reload("signal")


async def test_download_begun_before_a_reload_is_finished(home: House, mount: Mount) -> None:
    """A long answer goes on over the connection it began on, and shutdown waits for it too."""
    home.bank.bank.faults.append(Fault("resource", dribble=0.001, path_prefix="/download"))
    async with home.caller.get("/download?bytes=500") as answer:
        home.write(allowed_institutions=["00017"])
        await home.taken()
        assert len(home.app._retired) == 1
        stopping = asyncio.create_task(home.app._wait_idle(5))
        body = await answer.read()
        await stopping
    assert len(body) == 500
    await until(lambda: not home.app._retired)


async def test_connection_of_a_caller_outlives_a_reload(home: House) -> None:
    """A caller that keeps its connection need not open another."""
    assert await home.call() == 200
    served = home.app.connection_count
    home.write(allowed_institutions=["00017"])
    await home.taken()
    assert await home.call() == 200
    assert (served, home.app.connection_count) == (1, 1)


async def test_nothing_is_left_of_replaced_cores(home: House) -> None:
    """Twenty reloads later there are as many tasks and bank connections as before."""
    assert await home.call() == 200
    tasks, connections = len(asyncio.all_tasks()), home.bank.connections
    for _ in range(20):
        assert await home.app.reload("signal")
        assert await home.call() == 200
    await until(lambda: home.bank.connections <= connections)
    await until(lambda: len(asyncio.all_tasks()) <= tasks)


async def test_reload_during_the_drain_is_refused(home: House, mount: Mount) -> None:
    """A proxy that is shutting down begins nothing new."""
    home.bank.bank.faults.append(Fault("token", delay=0.3))
    home.rotate(sandbox_client=NEW)
    mount.swap(client_secret=NEW)
    reloading = asyncio.create_task(home.app.reload("signal"))
    await until(lambda: len(home.bank.bank.token_requests) > 1)
    home.app._draining = True
    assert not await reloading
    assert "shutting down" in home.warnings()[0]


async def test_retired_metrics_do_not_count_twice(home: House) -> None:
    """Requests before and after a reload stand in one series."""
    for _ in range(3):
        assert await home.call() == 200
        assert await home.app.reload("signal")
    assert sample(home.app, "candescent_proxy_requests_total", status="200") == 3


# The reloader by itself.


def secret_in(directory: Path) -> str:
    """Return the path of a file with the good secret."""
    write(directory / "secret", OLD)
    return str(directory / "secret")


class Taker:
    """Stands where the App does: reads a file, takes what is no mistake, and keeps the facts."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.taken: list[str] = []
        self.facts: list[Event] = []
        self.reloader = Reloader(
            self.reread, self.take, [], extra_files=[file], emit=self.facts.append, interval=0.01
        )

    def reread(self) -> tuple[Config, Logins]:
        """Read the configuration; it is as good as the file says."""
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

    async def take(self, config: Config, _logins: Logins) -> None:
        """Take it."""
        self.taken.append(config.institution_id)


async def test_failure_that_nobody_thought_of_does_not_end_the_watch(tmp_path: Path) -> None:
    """One crash is told with its cause, and the next change is taken as ever."""
    write(tmp_path / "file", "1")
    taker = Taker(tmp_path / "file")
    watch = asyncio.create_task(taker.reloader.run())
    write(taker.file, "crash")
    await until(lambda: taker.facts)
    assert isinstance(taker.facts[0], ReloadFailed)
    assert isinstance(taker.facts[0].error, RuntimeError)
    assert taker.reloader.failure
    write(taker.file, "22")
    await until(lambda: taker.taken == ["22"])
    assert taker.facts[1] == Reloaded("file")
    assert taker.reloader.failure == ""
    watch.cancel()


async def test_rotation_is_told_from_other_changes(home: House, mount: Mount) -> None:
    """A login that is another is a rotation, taken or refused; another setting is none."""
    home.write(upstream={"max_connections": 7})
    await home.taken()
    assert rotations(home) == (0, 0)
    mount.swap(client_secret=WRONG)
    await home.refused()
    assert rotations(home) == (0, 1)
    home.rotate(sandbox_client=NEW)
    mount.swap(client_secret=NEW)
    await home.taken(2)
    assert rotations(home) == (1, 1)
    token = {"kind": "v2", "institution": "00016", "trigger": "reload"}
    assert sample(home.app, "candescent_proxy_token_refreshes_total", **token) == 1
    assert sample(home.app, "candescent_proxy_reload_failures_total", reason="token") == 1


def rotations(home: House) -> tuple[float, float]:
    """Return how many rotations were taken, and how many refused."""
    name = "candescent_proxy_secret_rotations_total"
    taken, refused = (sample(home.app, name, result=result) for result in ("success", "failure"))
    return taken, refused


async def test_unchanged_mistake_is_told_once(tmp_path: Path) -> None:
    """A bad file that stays as it is fills no log."""
    write(tmp_path / "file", "1")
    taker = Taker(tmp_path / "file")
    watch = asyncio.create_task(taker.reloader.run())
    write(taker.file, "mistake")
    await until(lambda: taker.facts)
    await asyncio.sleep(0.1)  # ten looks, none of which may say it again
    assert len(taker.facts) == 1
    watch.cancel()


async def test_watched_file_is_told_of_once_a_change(tmp_path: Path) -> None:
    """One that comes, changes and goes; while it stays as it is, nothing is said."""
    file, told = tmp_path / "file", list[bool]()
    watching = asyncio.create_task(watch(file, 0.01, lambda: told.append(file.exists())))
    await asyncio.sleep(0.05)
    write(file, "one")
    await until(lambda: told == [True])
    write(file, "another")
    await until(lambda: told == [True, True])
    file.unlink()
    await until(lambda: told == [True, True, False])
    watching.cancel()


def test_fingerprint_sees_every_way_a_file_changes(tmp_path: Path) -> None:
    """In place, replaced, through a link, taken away: each makes another fingerprint."""
    file, link = tmp_path / "file", tmp_path / "link"
    link.symlink_to(file)
    seen = [fingerprint([link])]
    write(file, "one")
    seen.append(fingerprint([link]))
    write(file, "three")
    seen.append(fingerprint([link]))
    write(tmp_path / "other", "three")
    (tmp_path / "other").replace(file)
    seen.append(fingerprint([link]))
    write(tmp_path / "third", "three")
    swing(link, tmp_path / "third")
    seen.append(fingerprint([link]))
    assert all(one != other for at, one in enumerate(seen) for other in seen[at + 1 :])
    assert fingerprint([link]) == seen[-1]
