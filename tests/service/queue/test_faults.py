"""What a service does when something else fails: it says so, waits or ends in order, and goes on when the cause is gone."""

import asyncio
import contextlib
import itertools
import os
import secrets
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from unittest.mock import AsyncMock

import pytest

from guix_build_service.model.environments import BuildChanged, BuildState, NewEnvironment
from guix_build_service.pipeline import resolve
from guix_build_service.pipeline.disk import Disk
from guix_build_service.pipeline.failures import daemon_unavailable, without_daemon
from guix_build_service.pipeline.job import MARK, Job
from guix_build_service.queue.queue import DAEMON_LOSSES
from guix_environment.errors import DaemonUnavailable, LimitReached, RepositoryUnavailable, StoreUnavailable
from tests.git_server import GitServer, serve_git
from tests.marked_processes import marked_with
from tests.service.client import Client
from tests.service.installation import ADA, Installation, installation
from tests.service.queue.daemon_door import door
from tests.service.scripted import scripted

PYTHON = '(specifications->manifest (list "python" "python-pandas"))\n'


@pytest.mark.guix
@pytest.mark.timeout(900)
async def test_a_build_waits_for_a_daemon_that_went_away_and_is_finished_when_it_is_back(
    tmp_path: Path, git_server: GitServer, guix_profiles: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("guix_build_service.queue.queue.DISK_SECONDS", 0.2)
    git_server.commit("demo", {"manifest.scm": PYTHON})
    async with (
        door(tmp_path) as daemon,
        installation(
            tmp_path / "service", git_server.host, roots=guix_profiles, variables={"GUIX_DAEMON_SOCKET": str(daemon.socket)}
        ) as service,
    ):
        asked = await service.manager.add_environment(NewEnvironment(git_server.url("demo")), ADA)
        assert asked.build is not None
        async for event in service.manager.follow(asked.build.id, ADA):
            if isinstance(event, BuildChanged) and event.build.state is BuildState.BUILDING:
                break
        before = daemon.heard
        while daemon.heard == before:
            await asyncio.sleep(0.01)
        await daemon.shut()
        while not service.queue.hindrance:
            await asyncio.sleep(0.05)
            known = await service.store.build(asked.build.id)
            assert not known.state.is_final, known
        waiting = await service.manager.build(asked.build.id, ADA)
        assert (waiting.state, waiting.error) == (BuildState.QUEUED, None)
        assert (await service.manager.health()).queue == "Waiting for Guix's daemon, which does not answer"
        await daemon.open()
        assert (await service.finished(asked)).state is BuildState.READY
        assert (await service.manager.health()).status == "ok"
        assert "The build begins again when it does." in await service.log(asked.build.id)


async def lose(_: Job) -> None:
    """Find Guix's daemon gone."""
    raise daemon_unavailable()


async def test_a_build_that_ends_the_daemon_again_and_again_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("guix_build_service.queue.queue.DISK_SECONDS", 0.05)

    async with scripted(tmp_path) as (service, pipeline):
        pipeline.steps[BuildState.BUILDING] = lose
        monkeypatch.setattr(pipeline, "daemon_answers", AsyncMock(return_value=True))
        asked = await service.manager.add_environment(NewEnvironment("https://forge.example/a/b"), ADA)
        build = await service.finished(asked)
        assert (build.state, build.error and build.error["code"]) == (BuildState.FAILED, DaemonUnavailable.code)
        assert pipeline.made == DAEMON_LOSSES


async def test_who_waits_for_the_daemon_can_be_cancelled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("guix_build_service.queue.queue.DISK_SECONDS", 0.05)

    async with scripted(tmp_path) as (service, pipeline):
        pipeline.steps[BuildState.READING] = lose
        monkeypatch.setattr(pipeline, "daemon_answers", AsyncMock(return_value=False))
        asked = await service.manager.add_environment(NewEnvironment("https://forge.example/a/b"), ADA)
        assert asked.build is not None
        while not service.queue.hindrance:
            await asyncio.sleep(0.02)
        assert (await service.manager.cancel(asked.build.id, ADA)).state is BuildState.CANCELLED
        assert pipeline.made == 1


@pytest.mark.parametrize(
    ("said", "gone"),
    [
        ("guix build: error: failed to connect to `/var/guix/daemon-socket/socket': Connection refused", True),
        ("guix build: error: corrupt input while restoring archive from #<closed: file 7f10eb729ee0>", True),
        ("guix build: error: corrupt input while restoring archive from socket", True),
        ("guix repl: error: fport_write: Broken pipe", True),
        ("error: corrupt input while restoring archive from `/gnu/store/x'", False),
        ("a test says fport_write: Broken pipe", False),
    ],
)
def test_a_daemon_that_is_gone_is_told_from_what_builds_say(said: str, gone: bool) -> None:
    assert without_daemon(f"building x...\n{said}\n") is gone


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Give a folder on a disk of its own with little room."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "robust", str(folder)]
    if os.geteuid() or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("no file systems can be mounted here")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(disk: Path) -> Path:
    """Leave no byte free on DISK; return what to delete for that to end."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(b"x" * 4096):
            pass
    assert os.statvfs(disk).f_bavail == 0
    return ballast


async def add_until_refused(service: Installation) -> None:
    """Ask for one environment after the other; the first need no new page of the database."""
    for number in itertools.count():
        await service.manager.add_environment(NewEnvironment(f"https://forge.example/a/c{number}"), ADA)


async def test_a_full_disk_is_told_and_work_goes_on_when_there_is_room(
    small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("guix_build_service.queue.queue.DISK_SECONDS", 0.1)
    monkeypatch.setattr("guix_build_service.queue.queue.LOOK_SECONDS", 0.1)
    filled: list[Path] = []

    async def fill_it(job: Job) -> None:
        filled.append(fill(small_disk))
        (job.folder / "more").mkdir(parents=True)

    async with scripted(small_disk, disk=Disk((small_disk,), 1024 * 1024)) as (service, pipeline):
        before = await service.manager.add_environment(NewEnvironment("https://forge.example/a/before"), ADA)
        assert (await service.finished(before)).state is BuildState.READY
        pipeline.steps[BuildState.BUILDING] = fill_it
        asked = await service.manager.add_environment(NewEnvironment("https://forge.example/a/b"), ADA)
        assert asked.build is not None
        while not service.queue.hindrance:
            await asyncio.sleep(0.05)
        assert (await service.manager.health()).status == "failing"
        with pytest.raises(StoreUnavailable):
            await add_until_refused(service)
        # What is there can be read all the same.
        assert (await service.manager.environment(before.environment.id, ADA)).state is BuildState.READY
        pipeline.steps.clear()
        filled[0].unlink()
        async with asyncio.timeout(60):
            while not (build := await service.store.build(asked.build.id)).state.is_final:
                await asyncio.sleep(0.05)
        # Either its row could be written, and says why it failed, or it was done again.
        if build.state is BuildState.FAILED:
            assert build.error is not None
            assert build.error["code"] == LimitReached.code
        else:
            assert build.state is BuildState.READY
        after = await service.manager.add_environment(NewEnvironment("https://forge.example/a/after"), ADA)
        assert (await service.finished(after)).state is BuildState.READY
        assert (await service.manager.health()).status == "ok"


async def test_a_host_that_hangs_is_given_up_and_used_again_when_it_answers(
    tmp_path: Path, git_server: GitServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resolve, "LISTING_SECONDS", 1.0)
    git_server.commit("demo", {"manifest.scm": PYTHON})
    silent = socket.create_server(("127.0.0.1", 0))  # accepts, and never says a word
    host = f"127.0.0.1:{silent.getsockname()[1]}"
    client, other = Client(tmp_path, host), Client(tmp_path, git_server.host)
    mark = secrets.token_hex(8)
    client.git = replace(client.git, marks={MARK: mark})
    with silent:
        hanging = asyncio.create_task(client.resolve(f"http://{host}/demo.git"))
        # Nobody else waits for it meanwhile.
        assert (await other.resolve(git_server.url("demo"))).ref == "main"
        with pytest.raises(RepositoryUnavailable, match="does not answer, or too slowly"):
            await hanging
    assert marked_with(MARK, mark) == []
    (tmp_path / "again").mkdir()
    with serve_git(tmp_path / "again") as again:
        again.commit("demo", {"manifest.scm": PYTHON})
        assert (await Client(tmp_path, again.host).resolve(again.url("demo"))).ref == "main"
