"""Files of ``init``: readable by the proxy, private, and backed up."""

import re
from pathlib import Path

import pytest

from proxy.cli.init_files import FILES, InitOptions, configuration, existing_files, write
from proxy.config import loader

ANSWERS = InitOptions("key", "word", "00016", base_url="http://127.0.0.1:1")
EVERYTHING = InitOptions(
    "key",
    "word",
    "00016",
    environment="stage",
    v1=True,
    proxy="http://127.0.0.1:3128",
    ca_file="C:\\Company CA\\root.pem",
    listen="unix:/run/a b/app",
    admin="[::1]:9090",
)


@pytest.mark.parametrize("responses", [ANSWERS, EVERYTHING], ids=["least", "most"])
def test_files_contain_the_answers(responses: InitOptions, tmp_path: Path) -> None:
    """Verified and written configuration are equal."""
    folder = tmp_path / "a folder: with odd letters # in its näme"
    assert write(responses, folder) == []
    tried = loader.load(None, {}, responses.settings())
    written = loader.load(folder / "proxy.yaml", {}, {})
    secrets = {"client_id": None, "client_secret": None}
    files = {"client_id_file": None, "client_secret_file": None}
    assert written.model_copy(update=files) == tried.model_copy(update=secrets)
    assert loader.logins(written) == loader.logins(tried)


def test_commented_settings_are_valid(tmp_path: Path) -> None:
    """They can be uncommented."""
    text = configuration(ANSWERS, tmp_path)
    text, taken = re.subn(r"(?m)^# (?=(  )?[a-z_0-9]+: |upstream:$)", "", text)
    assert taken == 5
    file = tmp_path / "proxy.yaml"
    file.write_text(text.replace("[00017, 00018]", "00017, 00018"))
    config = loader.load(file, {}, {})
    assert config.host_user_id == "880017"
    assert config.upstream.proxy == "http://proxy.example:3128"
    assert config.permitted_institutions == {"00016", "00017", "00018"}


def test_files_are_private(tmp_path: Path) -> None:
    """Folder and files are the owner's, and git ignores them."""
    folder = tmp_path / "new"
    write(ANSWERS, folder)
    assert folder.stat().st_mode & 0o777 == 0o700
    modes = {path.name: path.stat().st_mode & 0o777 for path in folder.iterdir()}
    assert modes == dict.fromkeys((*FILES, ".gitignore"), 0o600)
    assert (folder / ".gitignore").read_text() == "*\n"


def test_existing_files_are_backed_up(tmp_path: Path) -> None:
    """If they change; other files stay."""
    (tmp_path / ".gitignore").write_text("mine\n")
    write(ANSWERS, tmp_path)
    assert existing_files(tmp_path) == [tmp_path / name for name in FILES]
    kept = write(InitOptions("key", "another word", "00016", environment="stage"), tmp_path)
    assert [path.name for path in kept] == ["client-secret.1", "proxy.yaml.1"]
    assert kept[0].read_text() == "word\n"
    assert kept[0].stat().st_mode & 0o777 == 0o600
    assert (tmp_path / ".gitignore").read_text() == "mine\n"


def test_answers_show_no_secret() -> None:
    """Their repr hides it."""
    assert "word" not in repr(ANSWERS)
