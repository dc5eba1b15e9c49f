"""The queue: in order, a few at a time, and what was asked for last counts."""

import asyncio
from pathlib import Path

import pytest

from guix_build_service.model.environments import FINAL, BuildState, NewEnvironment
from guix_build_service.model.turns import Limits
from guix_build_service.pipeline.job import Job
from guix_environment.identifiers import Commit
from tests.service.installation import ADA, ADMIN, BOB
from tests.service.queue.asked_builds import URL, ask, state_of, until
from tests.service.scripted import COMMIT, busy, scripted


def test_a_build_takes_one_step_after_the_other_and_none_once_it_has_ended() -> None:
    steps = [
        BuildState.QUEUED,
        BuildState.RESOLVING,
        BuildState.FETCHING,
        BuildState.READING,
        BuildState.BUILDING,
        BuildState.READY,
    ]
    for before in BuildState:
        expected = set[BuildState]()
        if before not in FINAL:
            expected = {steps[steps.index(before) + 1], BuildState.FAILED, BuildState.CANCELLED}
        if before.is_running:  # it was interrupted
            expected.add(BuildState.QUEUED)
        assert {after for after in BuildState if before.may_become(after)} == expected


async def test_builds_run_in_the_order_they_were_asked_for(tmp_path: Path) -> None:
    order = []

    async def step(job: Job) -> None:
        order.append(job.build)

    async with scripted(tmp_path, running_builds=1, start=False) as (service, pipeline):
        pipeline.steps[BuildState.FETCHING] = step
        asked = [await ask(service, f"plots-{number}") for number in range(4)]
        places = [(await service.manager.build(build, ADA)).expected for build in asked]
        assert [place.position for place in places if place] == [1, 2, 3, 4]
        assert {place.seconds for place in places if place} == {None}
        await service.queue.start()
        for build in asked:
            assert (await service.finished(await service.store.build(build))).state is BuildState.READY
            assert (await service.manager.build(build, ADA)).expected is None
    assert order == asked


@pytest.mark.parametrize(
    ("limits", "running"),
    [(Limits(2), 2), (Limits(5), 5), (Limits(5, per_person=2), 3), (Limits(5, per_repository=1), 3)],
)
async def test_no_more_builds_run_than_may(tmp_path: Path, limits: Limits, running: int) -> None:
    gate = asyncio.Event()
    begun = []

    async def step(job: Job) -> None:
        begun.append(job.build)
        await gate.wait()

    async with scripted(tmp_path, limits=limits) as (service, pipeline):
        pipeline.steps[BuildState.FETCHING] = step
        asked = []
        for number in range(5):
            person = BOB if number == 4 else ADA
            detail = await service.manager.add_environment(
                NewEnvironment(f"https://forge.example/ada/plots-{number % 3}", subdirectory=f"{number}"), person
            )
            assert detail.build is not None
            asked.append(detail.build.id)
        await until(lambda: len(begun) == running)
        waits = [build for build in asked if await state_of(service, build) is BuildState.QUEUED]
        assert len(waits) == 5 - running
        expected = [(await service.manager.build(build, ADMIN)).expected for build in waits]
        assert sorted(each.position for each in expected if each) == list(range(1, len(waits) + 1))
        gate.set()
        for build in asked:
            assert (await service.finished(await service.store.build(build))).state is BuildState.READY


async def test_a_newer_commit_is_built_in_place_of_one_that_waits(tmp_path: Path) -> None:
    async with scripted(tmp_path, start=False) as (service, pipeline):
        first = await service.manager.add_environment(NewEnvironment(URL, ref="main"), ADA)
        other = await service.manager.add_environment(NewEnvironment(URL, ref="main"), BOB)
        assert first.build is not None
        pipeline.commits[URL] = Commit("cd" * 20)
        second = await service.manager.start_build(first.environment.id, ADA)
        assert second.build is not None
        # Another person waits for the older one still, and then asks for the newer one too.
        assert await state_of(service, first.build.id) is BuildState.QUEUED
        assert (await service.store.build(first.build.id)).environments == (other.environment.id,)
        third = await service.manager.start_build(other.environment.id, BOB)
        assert third.build is not None
        assert third.build.id == second.build.id
        old = await service.store.build(first.build.id)
        assert old.state is BuildState.CANCELLED
        assert old.error is not None
        assert (old.error["code"], old.error["build"]) == ("build-superseded", second.build.id)
        await service.queue.start()
        assert (await service.finished(second)).state is BuildState.READY
        assert pipeline.made == 1
        # To ask for what is built already supersedes nothing.
        assert (await service.manager.start_build(first.environment.id, ADA)).state is BuildState.READY


async def test_who_follows_what_is_superseded_is_told_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("guix_build_service.manager.lookups.HEARTBEAT_SECONDS", 3600)
    async with scripted(tmp_path, running_builds=1) as (service, pipeline):
        pipeline.steps[BuildState.BUILDING] = busy
        await ask(service, "other")
        older = await service.manager.add_environment(NewEnvironment(URL, ref="main"), ADA)
        assert older.build is not None
        following = asyncio.create_task(service.finished(older))
        await until(lambda: older.build and service.queue.followers.has(older.build.id))
        await asyncio.sleep(0.1)  # it has looked, and sleeps
        pipeline.commits[URL] = Commit("cd" * 20)
        await service.manager.start_build(older.environment.id, ADA)
        assert (await following).state is BuildState.CANCELLED


@pytest.mark.parametrize("again", [False, True])
async def test_the_version_that_was_asked_for_last_is_current_whichever_is_ready_first(
    tmp_path: Path, *, again: bool
) -> None:
    gate, newer = asyncio.Event(), Commit("cd" * 20)

    async def wait(job: Job) -> None:
        if job.commit != newer:
            await gate.wait()

    async with scripted(tmp_path) as (service, pipeline):
        pipeline.steps[BuildState.BUILDING] = wait
        first = await service.manager.add_environment(NewEnvironment(URL, ref="main"), ADA)
        assert first.build is not None
        while await state_of(service, first.build.id) is not BuildState.BUILDING:
            await asyncio.sleep(0.01)
        pipeline.commits[URL] = newer
        await service.finished(await service.manager.start_build(first.environment.id, ADA))
        if again:  # the branch was put back
            pipeline.commits[URL] = COMMIT
            await service.manager.start_build(first.environment.id, ADA)
        gate.set()
        assert (await service.finished(first)).state is BuildState.READY
        detail = await service.manager.environment(first.environment.id, ADA)
        assert detail.version is not None
        assert detail.version.commit == (COMMIT if again else newer)
        assert len(await service.manager.versions(first.environment.id, ADA)) == 2
        await until(lambda: service.records.read_environment(first.environment.id).current == detail.environment.current)


@pytest.mark.parametrize("chosen", ["rolled back", "put back", "put back and forth"])
async def test_what_is_chosen_while_a_build_runs_stays_current(tmp_path: Path, chosen: str) -> None:
    gate, newest = asyncio.Event(), Commit("ef" * 20)

    async def wait(job: Job) -> None:
        if job.commit == newest:
            await gate.wait()

    async with scripted(tmp_path) as (service, pipeline):
        pipeline.steps[BuildState.BUILDING] = wait
        detail = await service.manager.add_environment(NewEnvironment(URL, ref="main"), ADA)
        environment = detail.environment.id
        await service.finished(detail)
        pipeline.commits[URL] = newest
        running = await service.manager.start_build(environment, ADA)
        assert running.build is not None
        while await state_of(service, running.build.id) is not BuildState.BUILDING:
            await asyncio.sleep(0.01)
        if chosen == "rolled back":
            [first] = await service.manager.versions(environment, ADA)
            await service.manager.rollback(environment, first.id, ADA)
        else:  # the branch
            pipeline.commits[URL] = COMMIT
            await service.manager.start_build(environment, ADA)
        if chosen == "put back and forth":
            pipeline.commits[URL] = newest
            await service.manager.start_build(environment, ADA)
        gate.set()
        assert (await service.finished(running)).state is BuildState.READY
        version = (await service.manager.environment(environment, ADA)).version
        assert version is not None
        assert version.commit == (newest if chosen == "put back and forth" else COMMIT)
        assert len(await service.manager.versions(environment, ADA)) == 2
