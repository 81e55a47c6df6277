"""``demo``: the command of what tests/test_demo.py looks at from inside."""

from tests.program import ended


async def test_demo_that_is_shown_once() -> None:
    """It ends by itself and well, and has shown the token being renewed."""
    code, out, err = await ended("demo", "--once")
    assert (code, err) == (0, "")
    assert "the proxy has fetched its successor" in out
