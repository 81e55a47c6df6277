"""Refresh tokens in memory and in their file."""

import json
import os
import resource
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import ConfigError
from proxy.tokens.refresh_tokens import RefreshTokens, StoredRefreshToken
from proxy.tokens.token import Instant, TokenKey, TokenKind

KEY = TokenKey(TokenKind.V2, "00016")
OTHER = TokenKey(TokenKind.V2, "00017")
ROOT = Path(__file__).parents[2]


class Clock:
    """A clock that tests set."""

    now = 1_000_000.0

    def __call__(self) -> Instant:
        """This moment, the same on both clocks."""
        return Instant(self.now, self.now)


@pytest.fixture
def clock() -> Clock:
    """A clock of the test's."""
    return Clock()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where the tokens are kept."""
    return tmp_path / "refresh-tokens.json"


@contextmanager
def full_disk() -> Iterator[None]:
    """A time in which no file of this process can grow."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_in_memory_only_the_newest(clock: Clock) -> None:
    """Without a file, the newest of each key is kept until it dies."""
    tokens = RefreshTokens(clock)
    assert tokens.current(KEY) == ""
    tokens.keep(KEY, "first", 100)
    tokens.keep(KEY, "second", 100)
    tokens.keep(OTHER, "theirs", 100)
    assert (tokens.current(KEY), tokens.current(OTHER)) == ("second", "theirs")
    clock.now += 100
    assert tokens.current(KEY) == ""


def test_login_beside_us_is_seen_once(clock: Clock, file: Path) -> None:
    """What another process puts into the file is news, what we put there ourselves is not."""
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


def test_forgotten_unless_newer(clock: Clock) -> None:
    """A token that died is forgotten; a newer one that took its place is not."""
    tokens = RefreshTokens(clock)
    tokens.keep(KEY, "first", 100)
    tokens.keep(KEY, "second", 100)
    tokens.forget(KEY, "first")
    tokens.forget(OTHER, "second")
    assert tokens.current(KEY) == "second"
    tokens.forget(KEY, "second")
    assert tokens.current(KEY) == ""


def test_another_holder_has_none_of_it(clock: Clock, file: Path) -> None:
    """A refresh token is for the login that it came of, from memory and from the file."""
    for tokens in (RefreshTokens(clock), RefreshTokens(clock, file)):
        tokens.keep(KEY, "hers", 100, "password key juniper")
        assert tokens.current(KEY, "password key juniper") == "hers"
        assert tokens.current(KEY, "password key basil") == ""


def test_file_is_its_owner_s_alone(clock: Clock, file: Path) -> None:
    """Whatever the umask, and whatever stood there, only the owner can read it."""
    file.write_text("{}", encoding="ascii")
    file.chmod(0o644)
    before = os.umask(0)
    try:
        RefreshTokens(clock, file).keep(KEY, "secret", 100)
    finally:
        os.umask(before)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_file_survives_a_restart_and_is_read_anew(clock: Clock, file: Path) -> None:
    """What one process keeps, another finds, at once and after a restart."""
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


def test_two_writers_lose_nothing(clock: Clock, file: Path) -> None:
    """Two processes that write at the same time leave what both have written."""
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
    assert list(file.parent.glob(".*")) == []


def test_file_that_cannot_be_written(clock: Clock, file: Path) -> None:
    """The failure names the setting and the file, never the token, and leaves nothing behind."""
    tokens = RefreshTokens(clock, file)
    tokens.keep(KEY, "first", 100)
    with full_disk(), pytest.raises(ConfigError, match="cannot be written") as error:
        tokens.keep(KEY, "second", 100)
    assert str(error.value).startswith(f"refresh_token_file: {file} cannot be written (")
    assert [path.name for path in file.parent.iterdir()] == [file.name]
    assert RefreshTokens(clock, file).current(KEY) == "first"
    with pytest.raises(ConfigError, match="No such file or directory"):
        RefreshTokens(clock, file.parent / "no" / "file").keep(KEY, "third", 100)


def test_memory_goes_before_a_file_that_is_behind(clock: Clock, file: Path) -> None:
    """While nothing can be written, what the file still holds is over, and stays over."""
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


def test_dead_one_is_over_even_where_it_cannot_be_struck_out(clock: Clock, file: Path) -> None:
    """A token that died is not tried again because the file cannot be written."""
    RefreshTokens(clock, file).keep(KEY, "dead", 100)
    tokens = RefreshTokens(clock, file)
    assert tokens.current(KEY) == "dead"
    with full_disk(), pytest.raises(ConfigError):
        tokens.forget(KEY, "dead")
    assert tokens.current(KEY) == ""


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
def test_spoilt_file_holds_nothing_and_can_be_written(clock: Clock, file: Path, text: str) -> None:
    """A file that is none has no tokens; the next one kept makes it whole."""
    file.write_text(text, encoding="utf-8")
    tokens = RefreshTokens(clock, file)
    assert tokens.current(KEY) == ""
    tokens.keep(KEY, "new", 100)
    assert RefreshTokens(clock, file).current(KEY) == "new"


def test_one_spoilt_entry_spoils_no_other(clock: Clock, file: Path) -> None:
    """What can be read of a file is read."""
    file.write_text(json.dumps({"v2:00016": GOOD, "v9:1": GOOD, "v2:2": []}), encoding="ascii")
    assert RefreshTokens(clock, file).current(KEY) == "good"


@given(st.text(st.characters(codec="ascii"), min_size=1), st.floats(1, 1e12))
def test_any_text_comes_back(
    tmp_path_factory: pytest.TempPathFactory, text: str, lifetime: float
) -> None:
    """What is kept is what is found, whatever characters it has."""
    file = tmp_path_factory.getbasetemp() / "any.json"
    RefreshTokens(Clock(), file).keep(KEY, text, lifetime)
    assert RefreshTokens(Clock(), file).current(KEY) == text


def test_repr_hides_it() -> None:
    """A refresh token's repr shows its end, not its text."""
    assert (
        repr(StoredRefreshToken("secret", 5.0)) == "StoredRefreshToken(expires_at=5.0, subject='')"
    )
