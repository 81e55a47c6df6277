"""The check of the store; test_checks has whole set-ups."""

from pathlib import Path

from proxy.cli.doctor import store_check
from proxy.cli.doctor.results import Level
from proxy.config import loader
from tests.support.redis_server import redis_server
from tests.support.running import CLIENT

LEAST = {"base_url": "http://127.0.0.1:9", "institution_id": "00016", **CLIENT}


async def test_no_store_has_no_result() -> None:
    """Without a store nothing is reported."""
    config = loader.load(None, {}, LEAST)
    assert [finding async for finding in store_check.check(config)] == []


async def test_check_leaves_nothing_in_the_store(tmp_path: Path) -> None:
    """Its test record is not a token and expires after a second."""
    keys = tmp_path / "keys"
    keys.write_text(f"k1 {'A' * 43}=\n")
    async with redis_server(tmp_path / "store") as server:
        reported = {"url": server.url, "encryption_key_file": str(keys)}
        config = loader.load(None, {}, {**LEAST, "store": reported})
        (finding,) = [finding async for finding in store_check.check(config)]
        assert finding.level is Level.OK
        assert finding.text == f"{server.url} can be read and written."
        (record,) = await server.records()
        assert record == b"candescent-proxy:{doctor}"
        assert 0 < await server.do("PTTL", record) <= 1000
