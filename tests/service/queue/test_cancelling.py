"""A build is cancelled at any moment: it stays so, and nothing of it is left."""

import asyncio
import signal
import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from guix_build_service.logs.build_logs import Log, Logs
from guix_build_service.model.environments import BuildState, Version
from guix_build_service.pipeline.job import MARK, Job
from guix_build_service.queue.attempts import Attempts
from guix_build_service.store.build_changes import Finished
from guix_environment.errors import BuildFailure
from guix_environment.identifiers import BuildId
from tests.marked_processes import marked_with
from tests.open_files import is_open
from tests.service.installation import ADA
from tests.service.queue.asked_builds import ask, left_of, state_of, until
from tests.service.scripted import PROFILE, busy, scripted


async def test_to_cancel_a_build_twice_at_once_is_to_cancel_it(tmp_path: Path) -> None:
    async with scripted(tmp_path) as (service, pipeline):
        pipeline.steps[BuildState.BUILDING] = busy
        build = await ask(service)
        await until(lambda: marked_with(MARK, str(build)))
        cancelled = await asyncio.gather(*(service.manager.cancel(build, ADA) for _ in range(5)))
        assert {each.state for each in cancelled} == {BuildState.CANCELLED}
        assert marked_with(MARK, str(build)) == []
        assert left_of(service) == []


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
        assert not is_open(opened[0].path)
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
