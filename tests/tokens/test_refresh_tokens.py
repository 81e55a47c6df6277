"""Refresh tokens in memory and in their file."""

import fcntl
import json
import os
import resource
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import ConfigError
from proxy.sandbox import Sandbox
from proxy.tokens import refresh_tokens
from proxy.tokens.refresh_tokens import RefreshTokens, StoredRefreshToken
from proxy.tokens.token import Instant, TokenKey, TokenKind
from tests.support.raw_client import ask, request
from tests.support.running import DEADLINE, running, until

KEY = TokenKey(TokenKind.V2, "00016")
OTHER = TokenKey(TokenKind.V2, "00017")
ROOT = Path(__file__).parents[2]


class Clock:
    """A clock that tests set."""

    now = 1_000_000.0

    def __call__(self) -> Instant:
        """Return the time, equal on both clocks."""
        return Instant(self.now, self.now)


@pytest.fixture
def clock() -> Clock:
    """The clock of the test."""
    return Clock()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The path of the file."""
    return tmp_path / "refresh-tokens.json"


@contextmanager
def full_disk() -> Iterator[None]:
    """No file of this process can grow meanwhile."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_newest_token_is_kept_in_memory(clock: Clock) -> None:
    """Without a file, until it expires."""
    tokens = RefreshTokens(clock)
    assert tokens.current(KEY) == ""
    tokens.keep(KEY, "first", 100)
    tokens.keep(KEY, "second", 100)
    tokens.keep(OTHER, "theirs", 100)
    assert (tokens.current(KEY), tokens.current(OTHER)) == ("second", "theirs")
    clock.now += 100
    assert tokens.current(KEY) == ""


def test_login_of_another_process_is_noticed_once(clock: Clock, file: Path) -> None:
    """The own changes are not."""
    tokens, login = RefreshTokens(clock, file), RefreshTokens(clock, file)
    assert tokens.updated_keys() == set()
    tokens.keep(KEY, "ours", 100)
    assert tokens.updated_keys() == set()
    login.keep(OTHER, "theirs", 100)
    assert tokens.updated_keys() == {OTHER}
    assert tokens.updated_keys() == set()
    login.keep(KEY, "theirs too", 100)
    tokens.keep(OTHER, "ours again", 100)
    assert tokens.updated_keys() == {KEY}
    login.forget(KEY, "theirs too")
    assert tokens.updated_keys() == set()
    assert RefreshTokens(clock, file).updated_keys() == set()


def test_dead_token_is_dropped_unless_newer(clock: Clock) -> None:
    """A newer token in its place is kept."""
    tokens = RefreshTokens(clock)
    tokens.keep(KEY, "first", 100)
    tokens.keep(KEY, "second", 100)
    tokens.forget(KEY, "first")
    tokens.forget(OTHER, "second")
    assert tokens.current(KEY) == "second"
    tokens.forget(KEY, "second")
    assert tokens.current(KEY) == ""


def test_token_belongs_to_the_bank_that_issued_it(clock: Clock, file: Path) -> None:
    """A file that does not say which, as older versions wrote it, counts for the one configured."""
    for tokens in (RefreshTokens(clock), RefreshTokens(clock, file)):
        tokens.keep(KEY, "hers", 100, "juniper", "https://bank.test")
        assert tokens.current(KEY, "juniper", "https://bank.test") == "hers"
        assert tokens.current(KEY, "juniper", "https://other.test") == ""
    document = json.loads(file.read_text())
    del document[str(KEY)]["address"]
    file.write_text(json.dumps(document))
    assert RefreshTokens(clock, file).current(KEY, "juniper", "https://other.test") == "hers"


def test_token_belongs_to_its_subject(clock: Clock, file: Path) -> None:
    """In memory and in the file."""
    for tokens in (RefreshTokens(clock), RefreshTokens(clock, file)):
        tokens.keep(KEY, "hers", 100, "password key juniper")
        assert tokens.current(KEY, "password key juniper") == "hers"
        assert tokens.current(KEY, "password key basil") == ""


def test_file_is_private(clock: Clock, file: Path) -> None:
    """Whatever the umask and the earlier file."""
    file.write_text("{}", encoding="ascii")
    file.chmod(0o644)
    before = os.umask(0)
    try:
        RefreshTokens(clock, file).keep(KEY, "secret", 100)
    finally:
        os.umask(before)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert {path.name for path in file.parent.iterdir()} == {file.name, f".{file.name}.lock"}


def test_file_is_shared_and_survives_a_restart(clock: Clock, file: Path) -> None:
    """Another process reads what one writes."""
    proxy, login = RefreshTokens(clock, file), RefreshTokens(clock, file)
    proxy.keep(KEY, "first", 100)
    login.keep(OTHER, "theirs", 100)
    assert proxy.current(OTHER) == "theirs"
    login.keep(KEY, "from a new login", 100)
    assert proxy.current(KEY) == "from a new login"
    assert RefreshTokens(clock, file).current(KEY) == "from a new login"
    proxy.forget(KEY, "first")
    assert proxy.current(KEY) == "from a new login"
    proxy.forget(KEY, "from a new login")
    assert RefreshTokens(clock, file).current(KEY) == ""
    assert RefreshTokens(clock, file).current(OTHER) == "theirs"


WRITER = """
import sys
from pathlib import Path
from proxy.runtime.clock import now
from proxy.tokens.refresh_tokens import RefreshTokens
from proxy.tokens.token import TokenKey, TokenKind
tokens = RefreshTokens(now, Path(sys.argv[1]))
sys.stdin.readline()
for number in range(40):
    tokens.keep(TokenKey(TokenKind.V2, sys.argv[2] + str(number)), f"t{number}", 1000)
"""


def test_concurrent_writers_lose_nothing(clock: Clock, file: Path) -> None:
    """Two processes that write at once."""
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(file), name], stdin=subprocess.PIPE, cwd=ROOT
        )
        for name in ("1", "2")
    ]
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write(b"go\n")
        writer.stdin.close()
    assert [writer.wait(30) for writer in writers] == [0, 0]
    assert len(json.loads(file.read_text(encoding="ascii"))) == 80
    assert [path.name for path in file.parent.glob(".*")] == [f".{file.name}.lock"]


def test_write_error_names_setting_and_file(clock: Clock, file: Path) -> None:
    """It has no token, and no temporary file remains."""
    tokens = RefreshTokens(clock, file)
    tokens.keep(KEY, "first", 100)
    with full_disk(), pytest.raises(ConfigError, match="cannot be written") as error:
        tokens.keep(KEY, "second", 100)
    assert str(error.value).startswith(f"refresh_token_file: {file} cannot be written (")
    assert {path.name for path in file.parent.iterdir()} == {file.name, f".{file.name}.lock"}
    assert RefreshTokens(clock, file).current(KEY) == "first"
    with pytest.raises(ConfigError, match="No such file or directory"):
        RefreshTokens(clock, file.parent / "no" / "file").keep(KEY, "third", 100)


def test_memory_overrides_an_outdated_file(clock: Clock, file: Path) -> None:
    """While the file cannot be written, and afterwards."""
    RefreshTokens(clock, file).keep(KEY, "first", 100)
    tokens = RefreshTokens(clock, file)
    for text in ("second", "third"):
        with full_disk(), pytest.raises(ConfigError):
            tokens.keep(KEY, text, 100)
        assert tokens.current(KEY) == text
    tokens.forget(KEY, "third")
    assert tokens.current(KEY) == ""
    RefreshTokens(clock, file).keep(KEY, "from a new login", 100)
    assert tokens.current(KEY) == "from a new login"


def test_dead_token_is_not_read_again(clock: Clock, file: Path) -> None:
    """Even if it cannot be removed from the file."""
    RefreshTokens(clock, file).keep(KEY, "dead", 100)
    tokens = RefreshTokens(clock, file)
    assert tokens.current(KEY) == "dead"
    with full_disk(), pytest.raises(ConfigError):
        tokens.forget(KEY, "dead")
    assert tokens.current(KEY) == ""


def test_lock_file_is_for_its_owner_only(clock: Clock, file: Path) -> None:
    """Nobody else can lock it, and a lock on the directory is not waited for."""
    directory = os.open(file.parent, os.O_RDONLY)
    fcntl.flock(directory, fcntl.LOCK_EX)
    RefreshTokens(clock, file).keep(KEY, "first", 100)
    os.close(directory)
    lock = file.with_name(f".{file.name}.lock")
    assert stat.S_IMODE(lock.stat().st_mode) == 0o600


@contextmanager
def locked(file: Path) -> Iterator[None]:
    """Hold the lock of a refresh token file."""
    handle = os.open(file.with_name(f".{file.name}.lock"), os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(handle, fcntl.LOCK_EX)
    try:
        yield
    finally:
        os.close(handle)


def test_lock_that_is_held_is_an_error(
    clock: Clock, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a while; the token is kept in memory."""
    monkeypatch.setattr(refresh_tokens, "LOCK_TIMEOUT", 0.05)
    tokens = RefreshTokens(clock, file)
    with locked(file), pytest.raises(ConfigError, match="another process has locked it"):
        tokens.keep(KEY, "first", 100)
    assert tokens.current(KEY) == "first"
    tokens.keep(KEY, "second", 100)
    assert RefreshTokens(clock, file).current(KEY) == "second"


async def test_event_loop_runs_while_the_file_is_locked(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Requests are served while a thread waits for another process that writes the file."""
    monkeypatch.setattr(refresh_tokens, "LOCK_TIMEOUT", DEADLINE)
    login = {"grant": "password", "username": "juniper", "password": "moonlight"}
    lock = ExitStack()
    lock.enter_context(locked(file))
    async with (
        Sandbox() as bank,
        running(bank, ready=False, refresh_token_file=str(file), **login) as app,
    ):
        await until(lambda: bank.bank.token_requests)
        for _ in range(3):
            assert (await ask(app, request("GET", "/oauth2/v1/token"))).status == 403
        assert not app.readiness().is_ready
        lock.close()
        await until(lambda: app.readiness().is_ready)
        assert (await ask(app)).status == 200


GOOD = {"text": "good", "expires_at": 2_000_000, "subject": ""}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        "[" * 100_000,
        '{"v2:00016": 7}',
        '{"v2:00016": {"text": 7, "expires_at": 1, "subject": ""}}',
        '{"v2:00016": {"text": "a", "expires_at": "soon", "subject": ""}}',
        '{"v2:00016": {"expires_at": 2000000, "subject": ""}}',
        '{"v3:00016": {"text": "a", "expires_at": 2000000, "subject": ""}}',
        '{"v2:00016": {"text": "ä", "expires_at": 2000000, "subject": ""}}',
    ],
    ids=lambda text: text[:50],
)
def test_invalid_file_is_empty_and_can_be_written(clock: Clock, file: Path, text: str) -> None:
    """The next token repairs it."""
    file.write_text(text, encoding="utf-8")
    tokens = RefreshTokens(clock, file)
    assert tokens.current(KEY) == ""
    tokens.keep(KEY, "new", 100)
    assert RefreshTokens(clock, file).current(KEY) == "new"


def test_invalid_entry_does_not_affect_others(clock: Clock, file: Path) -> None:
    """The rest is read."""
    file.write_text(json.dumps({"v2:00016": GOOD, "v9:1": GOOD, "v2:2": []}), encoding="ascii")
    assert RefreshTokens(clock, file).current(KEY) == "good"


@given(st.text(st.characters(codec="ascii"), min_size=1), st.floats(1, 1e12))
def test_any_text_is_kept(
    tmp_path_factory: pytest.TempPathFactory, text: str, lifetime: float
) -> None:
    """With any characters."""
    file = tmp_path_factory.getbasetemp() / "any.json"
    RefreshTokens(Clock(), file).keep(KEY, text, lifetime)
    assert RefreshTokens(Clock(), file).current(KEY) == text


def test_repr_shows_no_token() -> None:
    """Only its expiry."""
    assert (
        repr(StoredRefreshToken("secret", 5.0))
        == "StoredRefreshToken(expires_at=5.0, subject='', address='')"
    )
