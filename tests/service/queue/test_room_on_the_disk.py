"""Builds and the room on the disk: they wait for it, make it, and end where it runs out."""

import asyncio
from pathlib import Path

import pytest

from guix_build_service.model.environments import BuildState
from guix_build_service.pipeline.disk import Disk
from guix_build_service.pipeline.job import MARK
from guix_build_service.queue.attempts import Attempts
from guix_environment.identifiers import BuildId
from tests.marked_processes import marked_with
from tests.service.queue.asked_builds import ask, state_of, until
from tests.service.scripted import busy, scripted


async def test_builds_wait_for_room_on_the_disk_and_make_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("guix_build_service.queue.queue.DISK_SECONDS", 0.05)
    short = False
    monkeypatch.setattr(Disk, "is_short", lambda _: short)
    async with scripted(tmp_path) as (service, pipeline):
        pipeline.steps[BuildState.BUILDING] = busy
        first, second = await ask(service), await ask(service, "other")
        await until(lambda: marked_with(MARK, str(first)) and marked_with(MARK, str(second)))
        short = True
        failed = [await service.finished(await service.store.build(build)) for build in (second, first)]
        for build in failed:
            assert build.state is BuildState.FAILED
            assert build.error is not None
            assert build.error["code"] == "limit-reached"
            assert marked_with(MARK, str(build.id)) == []
        third = await ask(service, "third")
        await until(lambda: service.queue.hindrance)
        async with asyncio.timeout(60):
            while not (await service.store.build(third)).progress.phase:
                await asyncio.sleep(0.02)
        assert await state_of(service, third) is BuildState.QUEUED
        assert (await service.manager.health()).status == "failing"
        pipeline.steps.clear()
        short = False
        assert (await service.finished(await service.store.build(third))).state is BuildState.READY
        assert (await service.manager.health()).status == "ok"


async def test_a_full_disk_ends_the_newest_build_and_the_next_only_when_that_has_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    short, gate, end = False, asyncio.Event(), Attempts.end

    async def slow(self: Attempts, build: BuildId) -> None:
        await gate.wait()
        await end(self, build)

    monkeypatch.setattr(Disk, "is_short", lambda _: short)
    monkeypatch.setattr(Attempts, "end", slow)
    async with scripted(tmp_path) as (service, pipeline):
        pipeline.wait_in(BuildState.BUILDING)
        for build in (await ask(service), second := await ask(service, "other")):
            while await state_of(service, build) is not BuildState.BUILDING:
                await asyncio.sleep(0.01)
        short = True
        for _ in range(3):
            await service.queue._look_for_hindrances()
        assert list(service.queue._stopped) == [second]
        gate.set()
        assert (await service.finished(await service.store.build(second))).state is BuildState.FAILED


def test_a_disk_is_short_where_one_of_its_places_is(tmp_path: Path) -> None:
    assert not Disk((tmp_path, tmp_path / "to be made"), 1).is_short()
    assert Disk((tmp_path / "to be made",), 1 << 62).is_short()
    assert not Disk((), 1 << 62).is_short()
