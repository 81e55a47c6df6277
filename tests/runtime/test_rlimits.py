"""How many connections fit into how many files, and what becomes of a crash."""

import resource
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.config import loader
from proxy.config.model import Config
from proxy.runtime.rlimits import (
    RESERVE,
    files_needed,
    fit_to_limit,
    forbid_core_dumps,
    raise_limit,
)
from tests.support.running import CLIENT


def config(callers: int, upstream: int, **more: Any) -> Config:
    """Return a configuration with these limits on connections."""
    return loader.load(
        None,
        {},
        {
            **CLIENT,
            "base_url": "https://bank.test",
            "institution_id": "1",
            "limits": {"max_connections": str(callers)},
            "upstream": {"max_connections": str(upstream)},
            **more,
        },
    )


def test_what_fits_is_left_as_it_is() -> None:
    """With room for all of it, nothing is changed."""
    wanted = config(2000, 128)
    assert fit_to_limit(wanted, files_needed(wanted)) is wanted
    assert fit_to_limit(wanted, files_needed(wanted) - 1) is not wanted


@given(st.integers(1, 5000), st.integers(1, 500), st.integers(0, 6000))
def test_what_is_left_fits(callers: int, upstream: int, limit: int) -> None:
    """At any limit there is room for somebody, never for more than was set, and all of it fits."""
    found = fit_to_limit(config(callers, upstream), limit)
    assert 1 <= found.limits.max_connections <= callers
    assert 1 <= found.upstream.max_connections <= upstream
    assert files_needed(found) <= max(limit, RESERVE + 4)


@given(st.integers(1, 5000), st.integers(1, 8), st.integers(0, 60_000))
def test_every_listener_has_room(callers: int, listeners: int, limit: int) -> None:
    """Each has the limit on callers for itself, and all of them together fit."""
    more = {f"l{at}": {"listen": f"127.0.0.1:{9000 + at}"} for at in range(listeners)}
    wanted = config(callers, 4, listeners=more)
    assert files_needed(wanted) - files_needed(config(callers, 4)) == listeners * callers
    found = fit_to_limit(wanted, limit)
    assert 1 <= found.limits.max_connections <= callers
    assert files_needed(found) <= max(limit, RESERVE + 3 + listeners)


@pytest.fixture
def soft_limit() -> Iterator[int]:
    """A soft limit of 512 files, for the time of a test."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (512, before[1]))
    yield 512
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_soft_limit_is_raised(soft_limit: int) -> None:
    """What the system allows without asking is taken, no more than is wanted."""
    assert raise_limit(600) == 600
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == 600


def test_limit_is_never_lowered(soft_limit: int) -> None:
    """Somebody else may need what we do not."""
    assert raise_limit(100) == 100
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == soft_limit


def test_hard_limit_is_the_end(soft_limit: int) -> None:
    """What only an administrator may give is not asked for."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    assert raise_limit(hard + 1) == hard


def test_core_dumps_are_forbidden() -> None:
    """A crash writes no memory to a disk, nor to a program that collects dumps."""
    before = resource.getrlimit(resource.RLIMIT_CORE)
    try:
        forbid_core_dumps()
        assert resource.getrlimit(resource.RLIMIT_CORE)[0] in (0, 1)
    finally:
        resource.setrlimit(resource.RLIMIT_CORE, before)
