"""What the tests of a build's steps share."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.git_server import GitServer
from tests.service.installation import Installation, installation


@pytest.fixture
async def service(tmp_path: Path, git_server: GitServer, guix_profiles: Path) -> AsyncIterator[Installation]:
    """A service on the real Guix, whose roots are where the collector looks."""
    async with installation(tmp_path / "service", git_server.host, roots=guix_profiles / "environments") as running:
        yield running
