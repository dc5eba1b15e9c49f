"""What the tests of the build service share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.git_server import GitServer, serve_git


@pytest.fixture
def git_server(tmp_path: Path) -> Iterator[GitServer]:
    """A Git server on loopback."""
    folder = tmp_path / "git"
    folder.mkdir()
    with serve_git(folder) as server:
        yield server
