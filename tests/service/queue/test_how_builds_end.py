"""How a build ends: what is said and kept of it, and what is not left."""

import asyncio
import errno
from pathlib import Path

import pytest

from guix_build_service.logs.build_logs import Log, Logs
from guix_build_service.model.environments import BuildState, NewEnvironment
from guix_build_service.pipeline.job import MARK, Job
from guix_environment.errors import BuildFailure, NotFound
from guix_environment.identifiers import BuildId, EnvironmentId
from tests.marked_processes import marked_with
from tests.service.installation import ADA
from tests.service.queue.asked_builds import URL, ask, left_of, state_of, until
from tests.service.scripted import COMMIT, PROFILE, busy, scripted


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


async def test_records_say_again_what_the_database_says(tmp_path: Path) -> None:
    async with scripted(tmp_path) as (service, _):
        detail = await service.manager.add_environment(NewEnvironment(URL), ADA)
        await service.finished(detail)
        before = service.records.read_environment(detail.environment.id)
        (service.records.environment_folder(detail.environment.id) / "environment.json").unlink()
    async with scripted(tmp_path) as (service, _):
        assert service.records.read_environment(detail.environment.id) == before
