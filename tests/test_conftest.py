"""A skipped test must not pass for one that ran, where CI asks for all of them."""

from pathlib import Path

import pytest

from tests import conftest

pytest_plugins = ["pytester"]

SKIPPING = {
    "mark": "import pytest\n@pytest.mark.skip(reason='not today')\ndef test_it(): pass",
    "call": "import pytest\ndef test_it(): pytest.skip('not today')",
    "fixture": """
        import pytest
        @pytest.fixture
        def server(): pytest.skip('not today')
        def test_it(server): pass
    """,
    "expected failure": "import pytest\n@pytest.mark.xfail\ndef test_it(): assert False",
    "module": "import pytest\npytest.skip('not today', allow_module_level=True)",
    "import": "import pytest\npytest.importorskip('no_such_module')",
}


@pytest.fixture
def house(pytester: pytest.Pytester) -> pytest.Pytester:
    """A place to run pytest in, under the project's conftest."""
    pytester.makeini("[pytest]\nasyncio_default_fixture_loop_scope = function")
    pytester.makeconftest(Path(conftest.__file__).read_text(encoding="utf-8"))
    return pytester


@pytest.mark.parametrize("source", SKIPPING.values(), ids=SKIPPING)
def test_skip_fails_where_everything_must_run(
    house: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    """However a test avoids running, the run fails and names the variable."""
    monkeypatch.setenv(conftest.NO_SKIP, "1")
    house.makepyfile(source)
    result = house.runpytest_inprocess()
    assert result.ret != 0
    result.stdout.fnmatch_lines([f"*{conftest.NO_SKIP} is set*"])


@pytest.mark.parametrize("source", SKIPPING.values(), ids=SKIPPING)
def test_skip_is_a_skip_elsewhere(
    house: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    """On a contributor's machine a skip stays a skip."""
    monkeypatch.delenv(conftest.NO_SKIP, raising=False)
    house.makepyfile(source)
    result = house.runpytest_inprocess()
    outcomes = result.parseoutcomes()
    assert outcomes.get("failed", 0) == outcomes.get("errors", 0) == 0
    assert outcomes.get("skipped", 0) + outcomes.get("xfailed", 0) == 1


def test_passing_test_still_passes(house: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rule touches nothing that ran."""
    monkeypatch.setenv(conftest.NO_SKIP, "1")
    house.makepyfile("def test_it(): pass")
    house.runpytest_inprocess().assert_outcomes(passed=1)
