"""Several processes of the service on one PostgreSQL: each build is one's, and none is lost with whoever ran it."""

import asyncio
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from guix_build_service.logs.audit import Action, DeedFilter
from guix_build_service.model.environments import BuildState, NewEnvironment, PageRequest, Progress
from guix_build_service.model.turns import Limits
from guix_build_service.pipeline.job import MARK, RUN_BY, Job
from guix_build_service.queue.presence import LEASE_SECONDS
from guix_build_service.store import Store
from guix_environment.errors import BuildFailure, Conflict
from guix_environment.identifiers import BuildId, Commit, StorePath
from guix_environment.roots import Roots
from tests.marked_processes import marked_with
from tests.postgresql import PostgreSQL
from tests.service.installation import ADA, ADMIN, Installation
from tests.service.queue.asked_builds import until
from tests.service.queue.killed_letting_go import EVERYTHING_UNUSED, URL
from tests.service.scripted import busy, scripted

BUILDS = 50


@pytest.fixture
def database(postgresql: PostgreSQL, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the address of a database, and have services look at it often."""
    monkeypatch.setattr("guix_build_service.queue.queue.LOOK_SECONDS", 0.1)
    monkeypatch.setattr("guix_build_service.queue.queue.DISK_SECONDS", 0.1)
    return postgresql.current()


async def ask(service: Installation, name: str = "plots") -> BuildId:
    detail = await service.manager.add_environment(NewEnvironment(f"https://forge.example/ada/{name}"), ADA)
    assert detail.build is not None
    return detail.build.id


async def silent(*_: object) -> None:
    """Do nothing, in the place of what tells others that a service is there."""


async def take_for_gone(service: Installation, by: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have SERVICE say nothing any more, and start BY, which sees that for longer than a lease."""
    # Who looks for work is heard of by that; what is under way is over before this store's next transaction.
    monkeypatch.setattr(service.store, "claim", silent)
    monkeypatch.setattr(service.store, "beat", silent)
    await service.store.environments()
    await by.queue.start()
    presence = by.queue._presence
    monkeypatch.setattr(presence, "_clock", lambda: time.monotonic() + LEASE_SECONDS)
    monkeypatch.setattr(presence, "_told", presence._told + LEASE_SECONDS)
    by.queue.notice()


async def state_of(service: Installation, build: BuildId) -> BuildState:
    return (await service.store.build(build)).state


async def test_two_services_run_each_of_many_builds_once(tmp_path: Path, database: str) -> None:
    made: list[BuildId] = []

    async def note(job: Job) -> None:
        made.append(job.build)
        await asyncio.sleep(0)

    limits = Limits(in_all=6)
    async with (
        scripted(tmp_path, database=database, limits=limits) as (one, first),
        scripted(tmp_path, database=database, limits=limits) as (two, second),
    ):
        for pipeline in (first, second):
            pipeline.steps[BuildState.BUILDING] = note
        asked = await asyncio.gather(*(ask((one, two)[number % 2], f"plots-{number}") for number in range(BUILDS)))
        finished = [await one.finished(await one.store.build(build)) for build in asked]
        assert {build.state for build in finished} == {BuildState.READY}
        assert Counter(made) == dict.fromkeys(asked, 1)
        assert first.made + second.made == BUILDS
        assert min(first.made, second.made) > 0, "both are to have had their part"
        for environment in await two.store.environments():
            assert len(await two.store.versions(environment.id)) == 1


async def test_equal_requests_to_two_services_are_one_build(tmp_path: Path, database: str) -> None:
    stores = [await Store.open(database) for _ in range(2)]
    async with scripted(tmp_path, database=database, start=False) as (service, _):
        details = [
            await service.manager.add_environment(NewEnvironment("https://forge.example/ada/plots", name=f"{n}"), ADA)
            for n in range(6)
        ]
        first = details[0].build
        assert first is not None
        assert {detail.build.id for detail in details if detail.build} == {first.id}
        claimed = await asyncio.gather(*(store.claim() for store in stores for _ in range(5)))
        assert [build.id for build in claimed if build] == [first.id]
    for store in stores:
        await store.close()


async def test_what_a_killed_service_ran_is_run_by_another_and_by_nobody_before(tmp_path: Path, database: str) -> None:
    async with scripted(tmp_path, database=database, start=False) as (service, _):
        build = await ask(service)
    victim = subprocess.Popen([sys.executable, "-m", "tests.service.scripted", str(tmp_path), database])
    try:
        await until(lambda: len(marked_with(MARK, str(build))) == 2)
        async with scripted(tmp_path, database=database) as (service, pipeline):
            # It looks, and leaves what another runs alone: what it is asked itself is done meanwhile.
            other = await service.finished(await service.store.build(await ask(service, "other")))
            assert other.state is BuildState.READY
            assert await state_of(service, build) is BuildState.BUILDING
            assert len(marked_with(MARK, str(build))) == 2
            victim.send_signal(signal.SIGKILL)
            victim.wait()
            finished = await service.finished(await service.store.build(build))
            assert finished.state is BuildState.READY
            assert finished.service == service.store.service
            assert marked_with(MARK, str(build)) == []
            assert pipeline.made == 2
    finally:
        victim.kill()
        victim.wait()


async def test_a_build_is_cancelled_by_way_of_a_service_that_does_not_run_it(tmp_path: Path, database: str) -> None:
    async with (
        scripted(tmp_path, database=database) as (one, pipeline),
        scripted(tmp_path, database=database, start=False) as (two, _),
    ):
        pipeline.steps[BuildState.BUILDING] = busy
        build = await ask(one)
        await until(lambda: len(marked_with(MARK, str(build))) == 2)
        assert (await two.manager.cancel(build, ADA)).state is BuildState.CANCELLED
        await until(lambda: not marked_with(MARK, str(build)))
        await until(lambda: not one.queue._tasks)
        assert await state_of(one, build) is BuildState.CANCELLED


async def test_who_was_not_heard_of_for_too_long_has_its_builds_taken_and_publishes_nothing(
    tmp_path: Path, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with (
        scripted(tmp_path, database=database) as (one, slow),
        scripted(tmp_path, database=database, start=False) as (two, quick),
    ):
        slow.steps[BuildState.BUILDING] = busy
        build = await ask(one)
        await until(lambda: len(marked_with(MARK, str(build))) == 2)
        slow.steps.clear()
        await take_for_gone(one, two, monkeypatch)
        finished = await two.finished(await two.store.build(build))
        assert finished.state is BuildState.READY
        await until(lambda: not one.queue._tasks and not marked_with(MARK, str(build)))
        assert (slow.made, quick.made) == (1, 1)
        assert len(await two.store.versions(finished.environments[0])) == 1


@pytest.mark.parametrize("notices", [True, False], ids=["and notices", "and its build fails"])
async def test_who_was_taken_for_gone_ends_nothing_of_whoever_took_its_build(
    tmp_path: Path, database: str, monkeypatch: pytest.MonkeyPatch, *, notices: bool
) -> None:
    released, ended = asyncio.Event(), asyncio.Event()

    async def busy_in_its_folder(job: Job) -> None:
        job.folder.mkdir()
        await busy(job)

    async def fail_late(job: Job) -> None:
        await busy_in_its_folder(job)  # until the other service ends its processes
        await released.wait()
        raise BuildFailure("It could not be made.")

    async with (
        scripted(tmp_path, database=database) as (one, slow),
        scripted(tmp_path, database=database, start=False) as (two, quick),
    ):
        end = one.queue._attempts.end

        async def end_and_tell(build: BuildId) -> None:
            await end(build)
            ended.set()

        monkeypatch.setattr(one.queue._attempts, "end", end_and_tell)
        slow.steps[BuildState.BUILDING] = fail_late
        quick.steps[BuildState.BUILDING] = busy_in_its_folder
        build = await ask(one)
        await until(lambda: len(marked_with(RUN_BY, one.store.service)) == 2)
        monkeypatch.setattr(one.queue, "_stop_lost", silent)  # it is to notice late
        await take_for_gone(one, two, monkeypatch)
        await until(lambda: len(marked_with(RUN_BY, two.store.service)) == 2)
        running = set(marked_with(RUN_BY, two.store.service))
        assert marked_with(RUN_BY, one.store.service) == []
        if notices:
            monkeypatch.setattr(one.queue._presence, "_told", time.monotonic() - LEASE_SECONDS)
        else:
            released.set()
        await ended.wait()
        await until(lambda: not one.queue._tasks)
        assert set(marked_with(MARK, str(build))) == running
        assert [path.suffix for path in (tmp_path / "builds").iterdir()] == [f".{two.store.service}"]
        found = await two.store.build(build)
        assert (found.state, found.service) == (BuildState.BUILDING, two.store.service)
        assert "could not be made" not in (tmp_path / "logs" / f"{build}.log").read_text()
        assert (await two.manager.cancel(build, ADA)).state is BuildState.CANCELLED
        assert marked_with(MARK, str(build)) == []


async def test_what_was_cancelled_elsewhere_ends_also_where_its_service_was_killed_before_it_knew(
    tmp_path: Path, database: str
) -> None:
    async with scripted(tmp_path, database=database, start=False) as (service, _):
        build = await ask(service)
    victim = subprocess.Popen([sys.executable, "-m", "tests.service.scripted", str(tmp_path), database])
    try:
        await until(lambda: len(marked_with(MARK, str(build))) == 2)
        victim.send_signal(signal.SIGSTOP)
        async with scripted(tmp_path, database=database, start=False) as (service, _):
            assert (await service.manager.cancel(build, ADA)).state is BuildState.CANCELLED
            assert len(marked_with(MARK, str(build))) == 2
            victim.kill()
            victim.wait()
            await service.queue.start()
            assert marked_with(MARK, str(build)) == []
            assert await service.store.other_services() == []
    finally:
        victim.kill()
        victim.wait()


async def test_what_another_service_runs_cannot_be_changed_or_ended_as_one_s_own(tmp_path: Path, database: str) -> None:
    late = await Store.open(database)
    async with scripted(tmp_path, database=database, start=False) as (service, _):
        build = await ask(service)
        assert await service.store.claim() is not None
        for attempt in (
            late.move(build, BuildState.RESOLVING, BuildState.FETCHING),
            late.set_progress(build, Progress("Late")),
            late.complete(build, []),
            late.finish_own(build, BuildState.FAILED),
            late.requeue(build),
            late.take_over(build, late.service),
        ):
            with pytest.raises(Conflict, match="Another service"):
                await attempt
        assert await state_of(service, build) is BuildState.RESOLVING
    await late.close()


async def test_a_service_without_its_database_gives_its_builds_up_and_goes_on_when_it_is_back(
    tmp_path: Path, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with scripted(tmp_path, database=database) as (service, pipeline):
        pipeline.steps[BuildState.BUILDING] = busy
        build = await ask(service)
        await until(lambda: len(marked_with(MARK, str(build))) == 2)
        monkeypatch.setattr(service.queue._presence, "_told", service.queue._presence._told - LEASE_SECONDS)
        await until(lambda: not service.queue._tasks and not marked_with(MARK, str(build)))
        pipeline.steps.clear()
        assert await state_of(service, build) is not BuildState.FAILED
        monkeypatch.setattr(service.queue._presence, "_told", time.monotonic())
        service.queue.notice()
        assert (await service.finished(await service.store.build(build))).state is BuildState.READY


async def test_two_services_let_each_profile_go_once_and_none_that_is_in_use(tmp_path: Path, database: str) -> None:
    leases = Roots(tmp_path / "leases")
    async with (
        scripted(tmp_path, database=database, leases=leases) as (one, first),
        scripted(tmp_path, database=database, leases=leases) as (two, second),
    ):
        commits = [Commit(f"{number:040x}") for number in range(8)]
        first.profiles = second.profiles = {
            commit: StorePath(f"/gnu/store/{number:032}-profile") for number, commit in enumerate(commits)
        }
        first.commits = second.commits = {URL: commits[0]}
        detail = await one.manager.add_environment(NewEnvironment(URL), ADA)
        environment = (await one.finished(detail)).environments[0]
        for commit in commits[1:]:
            first.commits[URL] = commit
            await one.finished(await one.manager.start_build(environment, ADA))  # which either of them runs
        await until(lambda: not one.queue._tasks and not two.queue._tasks)
        versions = {version.commit: version for version in await one.manager.versions(environment, ADA)}
        await one.manager.pin_version(environment, versions[commits[0]].id, ADA, pinned=True)
        leases.hold("ada", versions[commits[1]].profile)
        stays = {f"key-{commit}" for commit in (commits[0], commits[1], commits[-1])}
        plans = await asyncio.gather(
            *(each.manager.let_go(ADMIN, EVERYTHING_UNUSED) for each in (one, two) for _ in range(3))
        )
        gone = Counter(decision.holding.key for each in plans for decision in each.decisions)
        assert gone == {f"key-{commit}": 1 for commit in commits[2:-1]}
        assert set(one.roots.held()) == stays
        told = await one.manager.audit(ADMIN, DeedFilter(action=Action.LET_GO), PageRequest())
        assert len(told.items) == len(gone)
        for version in await two.manager.versions(environment, ADA):
            assert (version.let_go is None) is (version.key in stays)
            assert two.records.let_go(version.environment, version.id) == version.let_go
