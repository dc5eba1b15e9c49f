"""An archive on loopback, and a manager that may ask it."""

import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from guix_build_service.git.git import Git
from guix_build_service.git.hosts import Hosts, PrivateHost
from guix_build_service.manager.manager import Manager
from tests.service.archives.archive_site import ArchiveSite, serve_archive
from tests.service.web.scripted import AskingPipeline, running_manager


@pytest.fixture
def git(tmp_path: Path) -> Git:
    return Git(shutil.which("git") or "git", tmp_path)


@pytest.fixture
def site() -> Iterator[ArchiveSite]:
    with serve_archive() as served:
        yield served


@pytest.fixture
async def manager(tmp_path: Path, site: ArchiveSite) -> AsyncIterator[Manager]:
    hosts = Hosts([PrivateHost.parse(site.host)])
    async with running_manager(tmp_path, AskingPipeline, hosts, site.sites) as (running, _):
        yield running
