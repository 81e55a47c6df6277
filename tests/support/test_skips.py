"""A skipped test fails where CI asks for all of them; elsewhere it is listed with a remedy."""

import ast
import re
from pathlib import Path

import pytest

from tests.support import needs, skips

pytest_plugins = ["pytester"]

ROOT = Path(__file__).parents[2]
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
LISTED = {
    "test_two": """
        from tests.support import needs
        @needs.skip_if(True, "no moon", "make moon")
        def test_one(): pass
        def test_other(): needs.skip("no moon", "make moon")
    """,
    "test_three": """
        from tests.support import needs
        pytestmark = needs.skip_if(True, "no sun", "make sun")
        def test_it(): pass
    """,
}


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A directory to run pytest in, with the plugin."""
    monkeypatch.delenv(skips.NO_SKIP, raising=False)
    pytester.makeini("[pytest]\nasyncio_default_fixture_loop_scope = function\ntestpaths = .")
    pytester.makeconftest("pytest_plugins = ['tests.support.skips']")
    return pytester


@pytest.mark.parametrize("source", SKIPPING.values(), ids=SKIPPING)
def test_skip_fails_in_ci(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    """A skipped test fails the run where the environment variable forbids skips."""
    monkeypatch.setenv(skips.NO_SKIP, "1")
    project.makepyfile(source)
    result = project.runpytest_inprocess()
    assert result.ret != 0
    result.stdout.fnmatch_lines([f"*{skips.NO_SKIP} is set*"])


@pytest.mark.parametrize("source", SKIPPING.values(), ids=SKIPPING)
def test_skip_is_listed_outside_ci(project: pytest.Pytester, source: str) -> None:
    """A skip stays a skip without the variable, and is listed."""
    project.makepyfile(source)
    result = project.runpytest_inprocess()
    outcomes = result.parseoutcomes()
    assert outcomes.get("failed", 0) == outcomes.get("errors", 0) == 0
    assert outcomes.get("skipped", 0) + outcomes.get("xfailed", 0) == 1
    result.stdout.re_match_lines([r"test_skip_is_listed_outside_ci\.py \(1\) "])


def test_passing_test_still_passes(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A test that ran is not affected by the variable."""
    monkeypatch.setenv(skips.NO_SKIP, "1")
    project.makepyfile("def test_it(): pass")
    project.runpytest_inprocess().assert_outcomes(passed=1)


def test_skips_are_listed_with_their_remedy(project: pytest.Pytester) -> None:
    """The summary has one line per module and reason: count, reason and command."""
    project.makepyfile(**LISTED)
    project.runpytest_inprocess("test_two.py", "test_three.py").stdout.re_match_lines(
        [
            "=+ not run =+",
            "$",
            "what +why +command that runs it$",
            r"test_three\.py \(1\)  no sun   make sun$",
            r"test_two\.py \(2\)    no moon  make moon$",
            "=+ 3 skipped in .*",
        ],
        consecutive=True,
    )


def test_full_run_lists_the_other_commands(project: pytest.Pytester) -> None:
    """A full run lists what other commands test; a run of chosen files lists nothing."""
    file = project.makepyfile("def test_it(): pass")
    said = project.runpytest_inprocess().stdout.str()
    assert all(command in said for command in skips.NOT_INCLUDED)
    project.runpytest_inprocess(file).stdout.no_fnmatch_line("*not run*")


def test_other_commands_exist() -> None:
    """The Makefile has every target that the list names."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = re.findall(r"^([\w-]+):", makefile, re.MULTILINE)
    assert {command.split()[1] for command in skips.NOT_INCLUDED} <= set(targets)


def test_ci_installs_every_program_that_tests_need() -> None:
    """`.ci/run` installs the same packages, except those of every Debian."""
    script = (ROOT / ".ci/run").read_text(encoding="utf-8")
    installed = set(re.findall(r"^need ([\w.-]+) ", script, re.MULTILINE))
    packages = {package for names in needs.PACKAGES.values() for package in names.split()}
    assert packages - installed <= {"bash", "libc-bin", "util-linux"}
    assert all((ROOT / script).exists() for script in needs.BUILT.values())


def test_every_skip_has_a_remedy() -> None:
    """Tests skip by ``tests.support.needs``, which requires a remedy, never by pytest alone."""
    own = {"pytest.skip", "pytest.mark.skipif", "pytest.mark.skip", "pytest.importorskip"}
    modules = {*(ROOT / "tests").rglob("*.py")} - {Path(needs.__file__), Path(__file__)}
    assert [str(path) for path in sorted(modules) if own & names(path)] == []


def names(path: Path) -> set[str]:
    """Return every dotted name in a module."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}


@pytest.mark.parametrize("name", needs.PACKAGES)
def test_missing_program_is_skipped_with_a_command(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reason names the program and the remedy its package."""
    monkeypatch.setattr(needs, "find", lambda _: None)
    with pytest.raises(pytest.skip.Exception, match=re.escape(name)) as raised:
        needs.program(name)
    assert str(raised.value).endswith(f"remedy: apt-get install {needs.PACKAGES[name]}")
