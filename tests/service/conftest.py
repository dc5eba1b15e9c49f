"""What the tests of the build service share."""

import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from guix_build_service.program.application import account_name
from tests.git_server import GitServer, serve_git
from tests.postgresql import PostgreSQL, serve_postgresql


@pytest.fixture
def git_server(tmp_path: Path) -> Iterator[GitServer]:
    """A Git server on loopback."""
    folder = tmp_path / "git"
    folder.mkdir()
    with serve_git(folder) as server:
        yield server


@pytest.fixture
def guix_profiles() -> Iterator[Path]:
    """A folder of the test's own, to be made, in which Guix's collector looks for what is held."""
    own = Path(f"/var/guix/profiles/per-user/{account_name()}/guix-build-service-test-{secrets.token_hex(4)}")
    yield own
    shutil.rmtree(own, ignore_errors=True)


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgreSQL]:
    """A PostgreSQL server."""
    with serve_postgresql() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return the address of a database of the newest schema, of either kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/service.sqlite"
    server: PostgreSQL = request.getfixturevalue("postgresql")
    return server.current()


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return the address of a database without tables, of either kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/service.sqlite"
    server: PostgreSQL = request.getfixturevalue("postgresql")
    return server.empty()
