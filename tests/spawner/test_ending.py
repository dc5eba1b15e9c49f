"""The end of a session: what is ended, what is cleared away and what stays."""

import os
from pathlib import Path

import pytest
from traitlets.config import Config

from guix_environment.process_identity import ProcessIdentity, is_running
from guixspawner.life.ending import Ending
from guixspawner.limits import SessionLimits
from guixspawner.network.settings import SessionNetwork
from guixspawner.session_files import SessionFiles
from tests.spawner.conftest import PROFILE


@pytest.fixture
def ending() -> Ending:
    config = Config(SessionLimits={"backend": "nothing"})
    return Ending(SessionLimits(config=config), SessionNetwork(), "http://127.0.0.1:1/hub/api")


@pytest.fixture
def files(tmp_path: Path) -> SessionFiles:
    """The files of a session that runs."""
    found = SessionFiles.of("ada", "", tmp_path / "sessions", tmp_path / "leases")
    found.hold({"environment": PROFILE})
    os.close(found.open_log())
    return found


async def test_nothing_but_its_log_is_left_of_a_session(
    ending: Ending, files: SessionFiles, sleeping: ProcessIdentity
) -> None:
    await ending.end(files, sleeping, grace=1)
    assert not is_running(sleeping)
    assert not files.leases.held()
    assert files.log.exists()


async def test_what_a_killed_hub_left_of_a_start_is_ended_with_its_session(
    ending: Ending, files: SessionFiles, sleeping: ProcessIdentity
) -> None:
    files.remember(sleeping)
    await ending.end(files, None, grace=1)
    assert not is_running(sleeping)
    assert files.remembered() is None


async def test_another_session_of_the_same_person_goes_on(ending: Ending, files: SessionFiles, tmp_path: Path) -> None:
    other = SessionFiles.of("ada", "two", tmp_path / "sessions", tmp_path / "leases")
    other.hold({"environment": PROFILE})
    await ending.end(files, None, grace=1)
    assert list(other.leases.held()) == [f"{other.key}.environment"]
