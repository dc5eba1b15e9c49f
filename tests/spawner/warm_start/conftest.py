"""Settings of warm starts for each test, and the real server profile."""

import asyncio
import contextlib
import os
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import jupyterhub
import pytest
from traitlets.config import Config

from guix_build_service.server_layer.definitions import definitions_folder
from guix_build_service.server_layer.profile import ServerProfileSettings, ensure_server_profile
from guix_environment.records import ServerRecord
from guixspawner.limits import SessionLimits
from guixspawner.warm_start import WarmStart
from tests.containers import processes_with
from tests.spawner.warm_start.starting import groups_of


@pytest.fixture
async def settings(tmp_path: Path) -> AsyncIterator[WarmStart]:
    """Settings with a folder and a group of their own; whatever was started for them is ended."""
    group = Config({"SessionLimits": {"group": f"guix_test_{tmp_path.name}_{os.getpid()}"}})
    made = WarmStart(folder=str(tmp_path / "warm"), patience=10.0, config=group)
    yield made
    for folder in processes_with("launcher/parent.py"):
        # Others' may end at any moment.
        with contextlib.suppress(OSError):
            if str((folder / "fd/2").readlink()) == f"{tmp_path}/warm/log":
                os.kill(int(folder.name), signal.SIGKILL)
    for key in await groups_of(made):
        await (await SessionLimits(parent=made).chosen()).end(key)


@pytest.fixture(scope="session")
def server() -> Iterator[ServerRecord]:
    """The record of the real server profile."""
    folder = Path(tempfile.mkdtemp(prefix="guixspawner-warm-"))
    roots = Path("/var/guix/profiles/per-user/root") / folder.name
    series = jupyterhub.__version__.partition(".")[0]
    try:
        wanted = ServerProfileSettings(definitions_folder(), series, folder / "records", roots, folder / "logs")
        yield asyncio.run(ensure_server_profile(wanted))
    finally:
        shutil.rmtree(folder)
        shutil.rmtree(roots, ignore_errors=True)
