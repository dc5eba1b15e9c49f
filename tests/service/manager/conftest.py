"""What the tests of the manager share."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.service.manager.asking import Service
from tests.service.scripted import scripted


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[Service]:
    """A service whose builds are a script, and that script."""
    async with scripted(tmp_path) as running:
        yield running
