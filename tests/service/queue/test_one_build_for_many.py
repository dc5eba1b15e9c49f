"""Who asks for the same thing gets the same build, and each gets a version."""

import asyncio
from pathlib import Path

from guix_build_service.model.environments import BuildState, EnvironmentDetail, NewEnvironment, Person
from guix_build_service.pipeline.job import Job
from guix_environment.errors import BuildFailure
from tests.service.installation import ADA, BOB
from tests.service.queue.asked_builds import URL, ask, left_of
from tests.service.scripted import ScriptedPipeline, scripted


async def test_equal_requests_are_one_build_and_everyone_gets_a_version(tmp_path: Path) -> None:
    async with scripted(tmp_path) as (service, pipeline):
        gate = pipeline.wait_in(BuildState.BUILDING)
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


async def test_where_one_of_many_cannot_have_its_version_nobody_has_and_the_reason_is_told(tmp_path: Path) -> None:
    never, published = asyncio.Event(), 0

    async def publish(_: Job) -> None:
        nonlocal published
        published += 1
        if published == 2:
            raise BuildFailure("It is broken.")
        if published > 2:
            await never.wait()

    async with scripted(tmp_path) as (service, pipeline):
        gate = pipeline.wait_in(BuildState.BUILDING)
        pipeline.steps[BuildState.READY] = publish
        people = [Person(f"person-{number}") for number in range(12)]
        details = [await service.manager.add_environment(NewEnvironment(URL), person) for person in people]
        assert len({detail.build.id for detail in details if detail.build}) == 1
        gate.set()
        build = await service.finished(details[0])
        assert (build.state, build.error) == (BuildState.FAILED, {"code": "build-failed", "message": "It is broken."})
        assert left_of(service) == []


async def test_one_question_to_a_server_answers_all_who_ask_meanwhile(tmp_path: Path) -> None:
    async with scripted(tmp_path) as (service, pipeline):

        async def slow(_: Job) -> None:
            await asyncio.sleep(0.1)

        pipeline.steps[BuildState.QUEUED] = slow
        await asyncio.gather(*(service.manager.resolve(URL, "", ADA) for _ in range(50)))
        assert pipeline.resolved == 1
        assert isinstance(pipeline, ScriptedPipeline)
