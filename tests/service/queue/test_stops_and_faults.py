"""The queue through ends of its service, in order and by force, and through faults of database and disk."""

import asyncio
import errno
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy.exc import OperationalError

from guix_build_service.model.environments import BuildState, NewEnvironment
from guix_build_service.pipeline.disk import Disk
from guix_build_service.pipeline.job import MARK, Job
from guix_environment.errors import StoreUnavailable
from tests.marked_processes import marked_with
from tests.service.installation import ADA
from tests.service.listing import environments_for
from tests.service.queue.asked_builds import URL, ask, left_of, state_of, until
from tests.service.scripted import busy, scripted


async def test_a_disk_that_fails_for_a_moment_does_not_end_the_queue(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked = 0

    def failing(_: Disk) -> bool:
        nonlocal looked
        looked += 1
        if looked == 1:
            raise OSError(errno.EIO, "Input/output error")
        return False

    monkeypatch.setattr(Disk, "is_short", failing)
    async with scripted(tmp_path) as (service, _):
        await until(lambda: looked == 1)
        assert (await service.finished(await service.store.build(await ask(service)))).state is BuildState.READY


async def test_a_service_that_was_killed_ends_what_is_left_and_builds_again(tmp_path: Path) -> None:
    async with scripted(tmp_path, start=False) as (service, _):
        build = await ask(service)
    victim = subprocess.Popen([sys.executable, "-m", "tests.service.scripted", str(tmp_path)])
    await until(lambda: len(marked_with(MARK, str(build))) == 2)
    victim.send_signal(signal.SIGKILL)
    victim.wait()
    assert len(marked_with(MARK, str(build))) == 2
    async with scripted(tmp_path, start=False) as (service, _):
        assert await state_of(service, build) is BuildState.BUILDING
        await service.queue.start()
        assert marked_with(MARK, str(build)) == []
        finished = await service.finished(await service.store.build(build))
        assert finished.state is BuildState.READY
        text = await service.log(build)
        assert text.count("now building") == 2
        assert not list((tmp_path / "builds").iterdir())


@pytest.mark.parametrize("begun", [False, True])
async def test_nobody_builds_what_was_deleted_as_the_service_was_killed(tmp_path: Path, *, begun: bool) -> None:
    async with scripted(tmp_path, start=False) as (service, _):
        build = await ask(service)
        if begun:
            claimed = await service.store.claim()
            assert claimed is not None
            assert claimed.id == build
        [environment] = (await service.store.build(build)).environments
        # Deleted; that its build was to be cancelled, nobody knows any more.
        assert await service.store.remove_environment(environment) == (build,)
    async with scripted(tmp_path) as (service, pipeline):
        assert await state_of(service, build) is BuildState.CANCELLED
        assert (await service.finished(await service.store.build(await ask(service, "other")))).state is BuildState.READY
        assert pipeline.made == 1


async def test_a_service_that_ends_in_order_leaves_no_process_and_goes_on_later(tmp_path: Path) -> None:
    async with scripted(tmp_path) as (service, pipeline):
        pipeline.steps[BuildState.BUILDING] = busy
        build, waiting = await ask(service), await ask(service, "other")
        await until(lambda: len(marked_with(MARK, str(build))) == 2)
    assert marked_with(MARK, str(build)) == []
    async with scripted(tmp_path) as (service, _):
        for identifier in (build, waiting):
            assert (await service.finished(await service.store.build(identifier))).state is BuildState.READY


async def test_a_deletion_that_was_cut_short_is_finished_at_the_next_start(tmp_path: Path) -> None:
    async with scripted(tmp_path) as (service, _):
        detail = await service.manager.add_environment(NewEnvironment(URL), ADA)
        await service.finished(detail)
        assert left_of(service)
        await service.store.remove_environment(detail.environment.id)  # and the power goes
    async with scripted(tmp_path) as (service, _):
        assert left_of(service) == []
        assert await service.store.removals() == []


async def test_a_database_that_fails_for_a_while_stops_nothing_for_good(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("guix_build_service.queue.queue.LOOK_SECONDS", 0.1)
    async with scripted(tmp_path) as (service, pipeline):
        broken = False
        begin = service.store._engine.begin

        def sometimes() -> object:
            if broken:
                raise OperationalError("INSERT", {}, Exception("disk full"))
            return begin()

        monkeypatch.setattr(service.store._engine, "begin", sometimes)

        async def fill(_: Job) -> None:
            nonlocal broken
            broken = True

        pipeline.steps[BuildState.READING] = fill
        build = await ask(service)
        await until(lambda: broken and not service.queue._tasks)
        with pytest.raises(StoreUnavailable):
            await environments_for(ADA, service.manager)
        pipeline.steps.clear()
        broken = False
        async with asyncio.timeout(10):
            while await state_of(service, build) is not BuildState.READY:
                await asyncio.sleep(0.05)
        assert pipeline.made == 2


async def test_the_queue_stops_also_where_there_is_news_at_that_moment(tmp_path: Path) -> None:
    async with scripted(tmp_path) as (service, _):
        await asyncio.sleep(0.1)  # it waits for news by now
        service.queue.notice()
        stopping = asyncio.create_task(service.queue.stop())
        done, _ = await asyncio.wait([stopping], timeout=20)
        assert done == {stopping}
