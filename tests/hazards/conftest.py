"""Fixtures of the hazard tests."""

from collections.abc import AsyncIterator

import pytest

from tests.hazards.proxy_under_test import ProxyUnderTest, proxy_under_test


@pytest.fixture
async def proxy() -> AsyncIterator[ProxyUnderTest]:
    """A proxy with its default limits."""
    async with proxy_under_test() as running_front:
        yield running_front
