"""What the hazards share."""

from collections.abc import AsyncIterator

import pytest

from tests.hazards.proxy_under_test import Front, front


@pytest.fixture
async def here() -> AsyncIterator[Front]:
    """A proxy with its default limits."""
    async with front() as running_front:
        yield running_front
