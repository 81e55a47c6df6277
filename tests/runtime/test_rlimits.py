"""Connection limits within the file limit, and core dumps."""

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
from proxy.server.port import MAX_OPENING
from proxy.server.server import MAX_REFUSED
from tests.support.running import CLIENT

UNSERVED = MAX_REFUSED + MAX_OPENING
"""Files of a listener for connections beyond its limit."""


def config(callers: int, upstream: int, **more: Any) -> Config:
    """Return a configuration with these connection limits."""
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


def test_sufficient_file_limit_changes_nothing() -> None:
    """The configured limits are kept."""
    wanted = config(2000, 128)
    assert fit_to_limit(wanted, files_needed(wanted)) is wanted
    assert fit_to_limit(wanted, files_needed(wanted) - 1) is not wanted


@given(st.integers(1, 5000), st.integers(1, 500), st.integers(0, 6000))
def test_limits_are_reduced_to_fit(callers: int, upstream: int, limit: int) -> None:
    """At any file limit at least one connection and at most the configured number fit."""
    fitted = fit_to_limit(config(callers, upstream), limit)
    assert 1 <= fitted.limits.max_connections <= callers
    assert 1 <= fitted.upstream.max_connections <= upstream
    assert files_needed(fitted) <= max(limit, RESERVE + UNSERVED + 4)


@given(st.integers(1, 5000), st.integers(1, 8), st.integers(0, 60_000))
def test_every_listener_has_its_limit(callers: int, listeners: int, limit: int) -> None:
    """Each listener has its own limit, and all of them fit."""
    more = {f"l{at}": {"listen": f"127.0.0.1:{9000 + at}"} for at in range(listeners)}
    wanted = config(callers, 4, listeners=more)
    each = callers + UNSERVED
    assert files_needed(wanted) - files_needed(config(callers, 4)) == listeners * each
    fitted = fit_to_limit(wanted, limit)
    assert 1 <= fitted.limits.max_connections <= callers
    least = RESERVE + UNSERVED * (1 + listeners) + 3 + listeners
    assert files_needed(fitted) <= max(limit, least)


@pytest.fixture
def soft_limit() -> Iterator[int]:
    """A soft limit of 512 files during the test."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (512, before[1]))
    yield 512
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_soft_limit_is_raised(soft_limit: int) -> None:
    """To what is needed, as far as the hard limit allows."""
    assert raise_limit(600) == 600
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == 600


def test_limit_is_never_lowered(soft_limit: int) -> None:
    """A higher limit stays."""
    assert raise_limit(100) == 100
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == soft_limit


def test_hard_limit_is_not_raised(soft_limit: int) -> None:
    """The soft limit is raised to the hard limit at most."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    assert raise_limit(hard + 1) == hard


def test_core_dumps_are_disabled() -> None:
    """A crash must not write memory to a disk or a collector."""
    before = resource.getrlimit(resource.RLIMIT_CORE)
    try:
        forbid_core_dumps()
        assert resource.getrlimit(resource.RLIMIT_CORE)[0] in (0, 1)
    finally:
        resource.setrlimit(resource.RLIMIT_CORE, before)
