"""The queue: in order, a few at a time, through crashes and cancellations, and nothing is left running."""

import asyncio
import errno
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from sqlalchemy.exc import OperationalError

from guix_build_service.logs.build_logs import Log, Logs
from guix_build_service.model.environments import FINAL, BuildState, EnvironmentDetail, NewEnvironment, Person, Version
from guix_build_service.model.turns import Limits
from guix_build_service.pipeline.disk import Disk
from guix_build_service.pipeline.job import MARK, Job
from guix_build_service.queue.attempts import Attempts
from guix_build_service.store.build_changes import Finished
from guix_environment.errors import BuildFailure, NotFound, StoreUnavailable
from guix_environment.identifiers import BuildId, Commit, EnvironmentId
from guix_environment.process_identity import marked_with
from tests.service.installation import ADA, ADMIN, BOB, Installation
from tests.service.scripted import COMMIT, PROFILE, ScriptedPipeline, busy, scripted

URL = "https://forge.example/ada/plots"


async def until(condition: Callable[[], object], seconds: float = 120) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.02)


async def ask(service: Installation, name: str = "plots") -> BuildId:
    detail = await service.manager.add_environment(NewEnvironment(f"https://forge.example/ada/{name}"), ADA)
    assert detail.build is not None
    return detail.build.id


async def state_of(service: Installation, build: BuildId) -> BuildState:
    return (await service.store.build(build)).state


def left_of(service: Installation) -> list[Path]:
    """Return what builds have left behind: records, roots, and folders of jobs."""
    found = [path for name in ("records/environments", "roots", "builds") for path in (service.folder / name).glob("*")]
    return [path for path in found if path.exists() or path.is_symlink()]


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

    async def wait(_: Job) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(Disk, "is_short", lambda _: short)
    monkeypatch.setattr(Attempts, "end", slow)
    async with scripted(tmp_path) as (service, pipeline):
        pipeline.steps[BuildState.BUILDING] = wait
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


async def test_to_cancel_a_build_twice_at_once_is_to_cancel_it(tmp_path: Path) -> None:
    async with scripted(tmp_path) as (service, pipeline):
        pipeline.steps[BuildState.BUILDING] = busy
        build = await ask(service)
        await until(lambda: marked_with(MARK, str(build)))
        cancelled = await asyncio.gather(*(service.manager.cancel(build, ADA) for _ in range(5)))
        assert {each.state for each in cancelled} == {BuildState.CANCELLED}
        assert marked_with(MARK, str(build)) == []
        assert left_of(service) == []


async def test_equal_requests_are_one_build_and_everyone_gets_a_version(tmp_path: Path) -> None:
    gate = asyncio.Event()

    async def wait(_: Job) -> None:
        await gate.wait()

    async with scripted(tmp_path) as (service, pipeline):
        pipeline.steps[BuildState.BUILDING] = wait
        first = await service.manager.add_environment(NewEnvironment(URL), ADA)
        details = await asyncio.gather(
            *(service.manager.add_environment(NewEnvironment(URL), BOB) for _ in range(20)),
            *(service.manager.add_environment(NewEnvironment(URL), ADA) for _ in range(20)),
        )
        assert first.build is not None
        assert {detail.build.id for detail in details if detail.build} == {first.build.id}
        # One environment for each person, however often they ask.
        assert len({detail.environment.id for detail in details}) == 2
        gate.set()
        await service.finished(first)
        assert pipeline.made == 1
        for detail in details:
            ready = await service.store.environment(detail.environment.id)
            assert ready.version is not None
            assert service.records.read_environment(detail.environment.id).current == ready.version.id


async def test_who_asks_while_a_build_is_being_published_gets_a_version_too(tmp_path: Path) -> None:
    async with scripted(tmp_path) as (service, pipeline):
        late: list[EnvironmentDetail] = []

        async def join(_: Job) -> None:
            if not late:
                late.append(await service.manager.add_environment(NewEnvironment(URL), BOB))

        pipeline.steps[BuildState.READY] = join
        build = await service.finished(await service.store.build(await ask(service)))
        assert build.state is BuildState.READY
        detail = await service.store.environment(late[0].environment.id)
        assert detail.build == build
        assert detail.version is not None
        assert pipeline.made == 1


async def test_the_log_of_a_build_that_is_finished_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with scripted(tmp_path) as (service, _):
        gate, write_record = asyncio.Event(), service.queue.holdings.write_record

        async def held(environment: EnvironmentId) -> None:
            await gate.wait()
            await write_record(environment)

        # What comes after the row is finished takes as long as it likes.
        monkeypatch.setattr(service.queue.holdings, "write_record", held)
        build = await ask(service)
        while await state_of(service, build) is not BuildState.READY:
            await asyncio.sleep(0.01)
        text = service.logs.read(build, 0, finished=True).text
        gate.set()
        assert text.endswith("Ready.\n")


@pytest.mark.parametrize(
    "state", [BuildState.QUEUED, BuildState.RESOLVING, BuildState.FETCHING, BuildState.READING, BuildState.BUILDING]
)
async def test_a_build_is_cancelled_in_any_state_with_all_its_processes(tmp_path: Path, state: BuildState) -> None:
    async with scripted(tmp_path, running_builds=1) as (service, pipeline):
        pipeline.steps[BuildState.BUILDING if state is BuildState.QUEUED else state] = busy
        build = await ask(service)
        # Two: the process itself, and one of its own that went its own way.
        await until(lambda: len(marked_with(MARK, str(build))) == 2)
        if state is BuildState.QUEUED:
            waiting = await ask(service, "other")
            assert await state_of(service, waiting) is BuildState.QUEUED
            assert (await service.manager.cancel(waiting, ADA)).state is BuildState.CANCELLED
        assert (await service.manager.cancel(build, ADA)).state is BuildState.CANCELLED
        assert marked_with(MARK, str(build)) == []
        assert left_of(service) == []
        assert "Cancelled." in await service.log(build)
        # It is over: to cancel it again changes nothing, and the next one runs.
        assert (await service.manager.cancel(build, ADA)).state is BuildState.CANCELLED
        pipeline.steps.clear()
        assert (await service.finished(await service.store.build(await ask(service)))).state is BuildState.READY


async def test_a_build_that_is_cancelled_before_it_has_begun_never_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opening, go, opened = threading.Event(), threading.Event(), list[Log]()
    open_log = Logs.open

    def slow(self: Logs, build: BuildId) -> Log:
        opening.set()
        go.wait()
        opened.append(open_log(self, build))
        return opened[-1]

    async with scripted(tmp_path) as (service, pipeline):
        monkeypatch.setattr(Logs, "open", slow)
        build = await ask(service)
        await asyncio.to_thread(opening.wait)
        cancelling = asyncio.create_task(service.manager.cancel(build, ADA))
        await until(lambda: build in service.queue._stopped)
        go.set()
        assert (await cancelling).state is BuildState.CANCELLED
        with pytest.raises(OSError, match="Bad file descriptor"):
            opened[0].size()
        await service.queue._look()
        assert await state_of(service, build) is BuildState.CANCELLED
        assert pipeline.made == 0


async def test_a_build_that_is_cancelled_while_its_end_is_noted_has_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    noting, go, say = threading.Event(), threading.Event(), Log.write

    def slow(self: Log, text: str) -> None:
        if text == "It is broken.":
            noting.set()
            go.wait()
        say(self, text)

    async def fail(_: Job) -> None:
        raise BuildFailure("It is broken.")

    monkeypatch.setattr(Log, "write", slow)
    async with scripted(tmp_path) as (service, pipeline):
        pipeline.steps[BuildState.READING] = fail
        build = await ask(service)
        await asyncio.to_thread(noting.wait)
        cancelling = asyncio.create_task(service.manager.cancel(build, ADA))
        await until(lambda: build in service.queue._stopped)
        assert not cancelling.done()
        go.set()
        assert (await cancelling).state is BuildState.CANCELLED
        # What its thread was writing came before the log was closed, and not into whatever had its number after that.
        assert "It is broken." in await service.log(build)
        await service.queue._look()
        assert pipeline.made == 1
        assert left_of(service) == []


async def test_a_build_that_is_cancelled_while_its_processes_are_ended_leaves_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ending, end = asyncio.Event(), Attempts.end

    async def slow(self: Attempts, build: BuildId) -> None:
        if not ending.is_set():
            ending.set()
            await asyncio.Event().wait()
        await end(self, build)

    async def fail(job: Job) -> None:
        left.append(subprocess.Popen(["sleep", "600"], env=dict(job.marks), executable="/bin/sleep"))
        raise BuildFailure("It is broken.")

    left: list[subprocess.Popen[bytes]] = []
    monkeypatch.setattr(Attempts, "end", slow)
    async with scripted(tmp_path) as (service, pipeline):
        pipeline.steps[BuildState.READING] = fail
        build = await ask(service)
        await ending.wait()
        assert (await service.manager.cancel(build, ADA)).state is BuildState.CANCELLED
        assert [process.wait() for process in left] == [-signal.SIGTERM]


async def test_a_build_whose_log_cannot_be_written_fails_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[BuildId] = []

    def full(_: Logs, build: BuildId) -> Log:
        tried.append(build)
        raise OSError(errno.ENOSPC, "No space left on device")

    async with scripted(tmp_path) as (service, pipeline):
        monkeypatch.setattr(Logs, "open", full)
        build = await service.finished(await service.store.build(await ask(service)))
        assert build.state is BuildState.FAILED
        assert build.error is not None
        assert build.error["code"] == "limit-reached"
        await service.queue._look()
        assert (tried, pipeline.made) == ([build.id], 0)


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


async def test_a_build_cancelled_while_it_is_published_is_either_ready_or_gone(tmp_path: Path) -> None:
    async with scripted(tmp_path) as (service, pipeline):

        async def cancel(job: Job) -> None:
            cancelling.append(asyncio.create_task(service.queue.cancel(job.build)))
            await asyncio.sleep(0)

        cancelling: list[asyncio.Task[object]] = []
        pipeline.steps[BuildState.READY] = cancel
        build = await service.finished(await service.store.build(await ask(service)))
        await asyncio.gather(*cancelling)
        [environment] = await service.store.environments()
        published = [record.id for record in service.records.environments()]
        if build.state is BuildState.READY:
            assert published == [environment.id]
        else:
            assert build.state is BuildState.CANCELLED
            assert left_of(service) == []


async def test_a_build_cancelled_at_the_moment_it_becomes_ready_is_ready_with_its_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with scripted(tmp_path) as (service, _):
        written, gate, complete = asyncio.Event(), asyncio.Event(), service.store.complete

        async def slow(build: BuildId, made: Sequence[Version], took: float | None) -> Finished:
            finished = await complete(build, made, took)
            written.set()
            await gate.wait()
            return finished

        monkeypatch.setattr(service.store, "complete", slow)
        build = await ask(service)
        await written.wait()
        cancelling = asyncio.create_task(service.queue.cancel(build))  # as who looked before it was ready
        await until(lambda: build in service.queue._stopped)
        gate.set()
        assert (await cancelling).state is BuildState.READY
        await until(lambda: not service.queue._tasks)
        (environment,) = await service.store.environments()
        record = service.records.read_environment(environment.id)
        assert record.current == environment.current
        assert service.records.read_version(environment.id, record.current).profile == PROFILE


async def test_what_becomes_ready_is_held_also_where_another_service_has_just_let_it_go(tmp_path: Path) -> None:
    async with scripted(tmp_path) as (service, pipeline):

        async def let_go(_: Job) -> None:
            service.roots.release(f"key-{COMMIT}")

        pipeline.steps[BuildState.READY] = let_go
        await service.finished(await service.store.build(await ask(service)))
        await until(lambda: service.roots.held() == {f"key-{COMMIT}": PROFILE})


async def test_a_failure_is_told_and_leaves_nothing(tmp_path: Path) -> None:
    async def fail(_: Job) -> None:
        raise BuildFailure("It is broken.", hint="Mend it.", details={"log": ["one"]})

    async with scripted(tmp_path) as (service, pipeline):
        pipeline.steps[BuildState.READY] = fail
        build = await service.finished(await service.store.build(await ask(service)))
        assert build.state is BuildState.FAILED
        assert build.error == {"code": "build-failed", "message": "It is broken.", "hint": "Mend it.", "log": ["one"]}
        assert left_of(service) == []
        assert "It is broken." in await service.log(build.id)


async def test_where_one_of_many_cannot_have_its_version_nobody_has_and_the_reason_is_told(tmp_path: Path) -> None:
    gate, never, published = asyncio.Event(), asyncio.Event(), 0

    async def wait(_: Job) -> None:
        await gate.wait()

    async def publish(_: Job) -> None:
        nonlocal published
        published += 1
        if published == 2:
            raise BuildFailure("It is broken.")
        if published > 2:
            await never.wait()

    async with scripted(tmp_path) as (service, pipeline):
        pipeline.steps |= {BuildState.BUILDING: wait, BuildState.READY: publish}
        people = [Person(f"person-{number}") for number in range(12)]
        details = [await service.manager.add_environment(NewEnvironment(URL), person) for person in people]
        assert len({detail.build.id for detail in details if detail.build}) == 1
        gate.set()
        build = await service.finished(details[0])
        assert (build.state, build.error) == (BuildState.FAILED, {"code": "build-failed", "message": "It is broken."})
        assert left_of(service) == []


async def test_a_fault_of_our_own_ends_the_build_without_its_secrets(tmp_path: Path) -> None:
    async def fail(_: Job) -> None:
        raise RuntimeError("secret detail")

    async with scripted(tmp_path) as (service, pipeline):
        pipeline.steps[BuildState.READING] = fail
        build = await service.finished(await service.store.build(await ask(service)))
        assert build.state is BuildState.FAILED
        assert build.error is not None
        assert "secret" not in str(build.error)
        assert "secret" not in await service.log(build.id)
        assert left_of(service) == []


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


async def test_deleting_an_environment_ends_its_build(tmp_path: Path) -> None:
    async with scripted(tmp_path) as (service, pipeline):
        pipeline.steps[BuildState.BUILDING] = busy
        detail = await service.manager.add_environment(NewEnvironment(URL), ADA)
        assert detail.build is not None
        await until(lambda: marked_with(MARK, str(detail.build.id if detail.build else "")))
        await service.manager.delete_environment(detail.environment.id, ADA)
        assert marked_with(MARK, str(detail.build.id)) == []
        assert left_of(service) == []
        with pytest.raises(NotFound):
            await service.manager.environment(detail.environment.id, ADA)


async def test_a_deletion_that_was_cut_short_is_finished_at_the_next_start(tmp_path: Path) -> None:
    async with scripted(tmp_path) as (service, _):
        detail = await service.manager.add_environment(NewEnvironment(URL), ADA)
        await service.finished(detail)
        assert left_of(service)
        await service.store.remove_environment(detail.environment.id)  # and the power goes
    async with scripted(tmp_path) as (service, _):
        assert left_of(service) == []
        assert await service.store.removals() == []


async def test_records_say_again_what_the_database_says(tmp_path: Path) -> None:
    async with scripted(tmp_path) as (service, _):
        detail = await service.manager.add_environment(NewEnvironment(URL), ADA)
        await service.finished(detail)
        before = service.records.read_environment(detail.environment.id)
        (service.records.environment_folder(detail.environment.id) / "environment.json").unlink()
    async with scripted(tmp_path) as (service, _):
        assert service.records.read_environment(detail.environment.id) == before


async def test_one_question_to_a_server_answers_all_who_ask_meanwhile(tmp_path: Path) -> None:
    async with scripted(tmp_path) as (service, pipeline):

        async def slow(_: Job) -> None:
            await asyncio.sleep(0.1)

        pipeline.steps[BuildState.QUEUED] = slow
        await asyncio.gather(*(service.manager.resolve(URL, "", ADA) for _ in range(50)))
        assert pipeline.resolved == 1
        assert isinstance(pipeline, ScriptedPipeline)


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
            await service.manager.environments(ADA)
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
