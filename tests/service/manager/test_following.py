"""Those who follow a build: everything once and in order, for as long as they may see it, however many they are."""

import asyncio
from collections.abc import Callable
from contextvars import ContextVar

import pytest
from sqlalchemy import Connection

from guix_build_service.model.environments import (
    BuildChanged,
    BuildState,
    Changes,
    LogText,
    NewEnvironment,
    Person,
)
from guix_environment.errors import GuixSpawnerError, NotFound
from guix_environment.records import Visibility
from tests.service.installation import ADA, BOB, CAROL
from tests.service.manager.asking import URL, Service, build_of


async def test_a_follower_gets_everything_once_and_in_order(service: Service) -> None:
    installation, pipeline = service
    gate = pipeline.wait_in(BuildState.READING)
    asked = await installation.manager.add_environment(NewEnvironment(URL), ADA)

    async def follow(position: int = 0) -> list[BuildChanged | LogText]:
        return [event async for event in installation.manager.follow(build_of(asked), ADA, position)]

    followers = [asyncio.create_task(follow()) for _ in range(5)]
    await asyncio.sleep(0.2)
    gate.set()
    results = await asyncio.gather(*followers)
    for events in results:
        states = [event.build.state for event in events if isinstance(event, BuildChanged)]
        assert states[-1] is BuildState.READY
        assert states == sorted(states, key=list(BuildState).index)
        text = "".join(event.text for event in events if isinstance(event, LogText))
        assert text == "now resolving\nnow fetching\nnow reading\nnow building\nReady.\n"
        positions = [event.position for event in events]
        assert positions == sorted(positions)
    # Who was cut off goes on where they were.
    late = await follow(len("now resolving\n"))
    assert "".join(event.text for event in late if isinstance(event, LogText)).startswith("now fetching\n")
    assert installation.queue.followers._followers == {}


async def test_who_follows_and_may_no_longer_see_is_told_nothing_more(service: Service) -> None:
    installation, pipeline = service
    gate = pipeline.wait_in(BuildState.READING)
    asked = await installation.manager.add_environment(NewEnvironment(URL, visibility=Visibility.EVERYONE), ADA)
    events = installation.manager.follow(build_of(asked), BOB)
    assert isinstance(await anext(events), BuildChanged)
    await installation.manager.update_environment(asked.environment.id, Changes(visibility=Visibility.PRIVATE), ADA)
    gate.set()
    with pytest.raises(GuixSpawnerError):
        async for _ in events:
            pass


async def test_many_who_follow_a_build_have_it_read_once(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    installation, pipeline = service
    release = pipeline.wait_in(BuildState.BUILDING)
    detail = await installation.manager.add_environment(NewEnvironment(URL), ADA)
    reads = 0
    read = installation.logs.read

    def counted(*given: object, **named: object) -> LogText:
        nonlocal reads
        reads += 1
        return read(*given, **named)  # type: ignore[arg-type] # as they were given

    monkeypatch.setattr(installation.logs, "read", counted)

    async def follow() -> str:
        events = [event async for event in installation.manager.follow(build_of(detail), ADA)]
        assert isinstance(events[-1], BuildChanged | LogText)
        return "".join(event.text for event in events if isinstance(event, LogText))

    following = [asyncio.create_task(follow()) for _ in range(50)]
    while not reads:
        await asyncio.sleep(0.02)
    release.set()
    texts = set(await asyncio.gather(*following))
    assert len(texts) == 1
    assert "Ready." in texts.pop()
    assert reads < 50


async def test_however_many_share_a_build_the_last_looks_as_little_as_the_first(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    installation, pipeline = service
    release = pipeline.wait_in(BuildState.BUILDING)
    looks, look = 0, installation.store.look
    here = ContextVar("here", default=False)

    async def counted(work: Callable[[Connection], object]) -> object:
        nonlocal looks
        looks += here.get()  # not those of the queue, which looks by itself too
        return await look(work)

    monkeypatch.setattr(installation.store, "look", counted)
    people = [Person(f"person-{number}") for number in range(12)]
    asked = [await installation.manager.add_environment(NewEnvironment(URL), person) for person in people]
    [build] = {build_of(detail) for detail in asked}
    here.set(True)
    costs = []
    for person in people:
        before = looks
        await installation.manager.build(build, person)
        await anext(installation.manager.follow(build, person))
        costs.append(looks - before)
    assert max(costs) == costs[0]
    with pytest.raises(NotFound):
        await installation.manager.build(build, CAROL)
    release.set()
    assert (await installation.finished(asked[0])).state is BuildState.READY


async def test_who_joins_a_build_that_others_follow_can_follow_it_at_once(service: Service) -> None:
    installation, pipeline = service
    release = pipeline.wait_in(BuildState.BUILDING)
    first = await installation.manager.add_environment(NewEnvironment(URL), ADA)
    follower = installation.manager.follow(build_of(first), ADA)
    await anext(follower)
    second = await installation.manager.add_environment(NewEnvironment(URL), BOB)
    assert build_of(second) == build_of(first)
    joined = installation.manager.follow(build_of(second), BOB)
    assert isinstance(await anext(joined), BuildChanged)
    with pytest.raises(NotFound):
        await anext(installation.manager.follow(build_of(second), CAROL))
    release.set()
    assert (await installation.finished(second)).state is BuildState.READY
