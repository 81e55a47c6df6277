"""The doctor at the store; whole set-ups are in test_examination."""

from pathlib import Path

from proxy.cli.doctor import store_check
from proxy.cli.doctor.results import Level
from proxy.config import loader
from tests.support.redis_server import redis_server
from tests.support.running import CLIENT

LEAST = {"base_url": "http://127.0.0.1:9", "institution_id": "00016", **CLIENT}


async def test_no_store() -> None:
    """Where there is none, nothing is said of it."""
    config = loader.load(None, {}, LEAST)
    assert [finding async for finding in store_check.check(config)] == []


async def test_store_that_is_well_is_left_as_it_was(tmp_path: Path) -> None:
    """What was written to see whether it can be is no token, and gone after a second."""
    keys = tmp_path / "keys"
    keys.write_text(f"k1 {'A' * 43}=\n")
    async with redis_server(tmp_path / "store") as server:
        told = {"url": server.url, "encryption_key_file": str(keys)}
        config = loader.load(None, {}, {**LEAST, "store": told})
        (finding,) = [finding async for finding in store_check.check(config)]
        assert finding.level is Level.OK
        assert finding.text == f"{server.url} can be read and written."
        (record,) = await server.records()
        assert record == b"candescent-proxy:{doctor}"
        assert 0 < await server.do("PTTL", record) <= 1000
