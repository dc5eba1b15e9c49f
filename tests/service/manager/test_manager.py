"""Who may do what, and what is found and what is new."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextvars import ContextVar
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import Connection

from guix_build_service.manager.manager import Manager, MayAdd, Policy
from guix_build_service.model.environments import (
    RECIPE_VERSION,
    BuildChanged,
    BuildState,
    Changes,
    EnvironmentDetail,
    LogText,
    NewEnvironment,
    Person,
)
from guix_build_service.pipeline.job import Job
from guix_environment.errors import Conflict, GuixSpawnerError, InvalidInput, LimitReached, NotFound, RefNotFound, Refused
from guix_environment.identifiers import BuildId, Commit, EnvironmentId
from guix_environment.records import Visibility
from guix_environment.repository_url import RepositoryUrl
from tests.service.installation import ADA, ADMIN, BOB, CAROL, Installation
from tests.service.scripted import ScriptedPipeline, scripted

URL = "https://forge.example/ada/plots"
Service = tuple[Installation, ScriptedPipeline]
Use = Callable[[Manager, EnvironmentId, BuildId, Person], Awaitable[object]]


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[Service]:
    async with scripted(tmp_path) as running:
        yield running


async def ready(installation: Installation, **given: object) -> EnvironmentDetail:
    request = NewEnvironment(**{"repository": URL, **given})  # type: ignore[arg-type] # the tests give what it takes
    asked = await installation.manager.add_environment(request, ADA)
    await installation.finished(asked)
    return await installation.store.environment(asked.environment.id)


def build_of(detail: EnvironmentDetail) -> BuildId:
    assert detail.build is not None
    return detail.build.id


READING: dict[str, Use] = {
    "environment": lambda manager, environment, _, person: manager.environment(environment, person),
    "versions": lambda manager, environment, _, person: manager.versions(environment, person),
    "build": lambda manager, _, build, person: manager.build(build, person),
    "log": lambda manager, _, build, person: manager.log(build, person),
    "log_size": lambda manager, _, build, person: manager.log_size(build, person),
}

CHANGING: dict[str, Use] = {
    "update": lambda manager, environment, _, person: manager.update_environment(environment, Changes(name="x"), person),
    "start_build": lambda manager, environment, _, person: manager.start_build(environment, person),
    "rollback": lambda manager, environment, _, person: manager.rollback(environment, None, person),
    "delete": lambda manager, environment, _, person: manager.delete_environment(environment, person),
}


@pytest.mark.parametrize("use", [*READING, *CHANGING])
async def test_what_one_may_not_see_does_not_exist(service: Service, use: str) -> None:
    installation, _ = service
    detail = await ready(installation)
    call = (READING | CHANGING)[use]
    with pytest.raises(NotFound):
        await call(installation.manager, detail.environment.id, build_of(detail), BOB)
    with pytest.raises(NotFound):
        await call(installation.manager, EnvironmentId.new(), BuildId.new(), ADMIN)
    assert await installation.manager.environments(BOB) == []


@pytest.mark.parametrize("use", CHANGING)
async def test_what_one_may_see_and_not_change_is_refused(service: Service, use: str) -> None:
    installation, _ = service
    detail = await ready(installation, visibility=Visibility.GROUPS, groups=("lab",))
    for read in READING.values():
        await read(installation.manager, detail.environment.id, build_of(detail), CAROL)
    with pytest.raises(Refused):
        await CHANGING[use](installation.manager, detail.environment.id, build_of(detail), CAROL)
    with pytest.raises(NotFound):
        await CHANGING[use](installation.manager, detail.environment.id, build_of(detail), BOB)


async def test_a_build_is_cancelled_by_those_who_wait_for_it_alone(service: Service) -> None:
    installation, pipeline = service
    gate = asyncio.Event()

    async def wait(_: Job) -> None:
        await gate.wait()

    pipeline.steps[BuildState.BUILDING] = wait
    asked = await installation.manager.add_environment(NewEnvironment(URL, visibility=Visibility.EVERYONE), ADA)
    build = build_of(asked)
    with pytest.raises(Refused):
        await installation.manager.cancel(build, BOB)
    await installation.manager.add_environment(NewEnvironment(URL), BOB)
    with pytest.raises(Refused, match="Others wait"):
        await installation.manager.cancel(build, ADA)
    assert (await installation.manager.cancel(build, ADMIN)).state is BuildState.CANCELLED


@pytest.mark.parametrize(
    ("policy", "allowed"),
    [
        (Policy(MayAdd.EVERYONE), {"ada", "carol", "admin"}),
        (Policy(MayAdd.GROUPS, frozenset({"lab"})), {"carol", "admin"}),
        (Policy(MayAdd.ADMINS), {"admin"}),
    ],
)
async def test_who_may_add_is_the_administrator_s_choice(tmp_path: Path, policy: Policy, allowed: set[str]) -> None:
    async with scripted(tmp_path, policy=policy) as (installation, pipeline):
        for person in (ADA, CAROL, ADMIN):
            assert await installation.manager.may_add(person) == (person.name in allowed)
            if person.name not in allowed:
                for call in (
                    installation.manager.add_environment(NewEnvironment(URL), person),
                    installation.manager.resolve(URL, "", person),
                ):
                    with pytest.raises(Refused):
                        await call
        assert pipeline.resolved == 0


async def test_a_person_has_no_more_environments_than_they_may(tmp_path: Path) -> None:
    async with scripted(tmp_path, policy=Policy(environments=2)) as (service, _):
        details = [
            await service.manager.add_environment(NewEnvironment(f"https://forge.example/ada/plots-{number}"), ADA)
            for number in range(2)
        ]
        with pytest.raises(LimitReached, match="as many as you may have"):
            await service.manager.add_environment(NewEnvironment("https://forge.example/ada/one-more"), ADA)
        # What one has, one may ask for again; others have their own, and administrators any number.
        again = await service.manager.add_environment(NewEnvironment("https://forge.example/ada/plots-1"), ADA)
        assert again.environment.id == details[1].environment.id
        await service.manager.add_environment(NewEnvironment("https://forge.example/ada/plots-1"), BOB)
        for number in range(3):
            await service.manager.add_environment(NewEnvironment(f"https://forge.example/ada/all-{number}"), ADMIN)
        await service.manager.delete_environment(details[0].environment.id, ADA)
        await service.manager.add_environment(NewEnvironment("https://forge.example/ada/one-more"), ADA)


async def test_a_person_asks_for_no_more_builds_in_an_hour_than_they_may(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with scripted(tmp_path, policy=Policy(builds_an_hour=2)) as (service, _):
        detail = await service.manager.add_environment(NewEnvironment("https://forge.example/ada/plots"), ADA)
        await service.finished(detail)
        await service.finished(await service.manager.start_build(detail.environment.id, ADA, force=True))
        with pytest.raises(LimitReached, match="2 builds within an hour") as refusal:
            await service.manager.start_build(detail.environment.id, ADA, force=True)
        assert 3000 < int(str(refusal.value.details["retry_after"])) <= 3601
        with pytest.raises(LimitReached):
            await service.manager.add_environment(NewEnvironment("https://forge.example/ada/another"), ADA)
        assert [each.environment.name for each in await service.manager.environments(ADA)] == ["plots"]
        # What is there needs no build.
        assert (await service.manager.start_build(detail.environment.id, ADA)).state is BuildState.READY
        await service.manager.add_environment(NewEnvironment("https://forge.example/ada/another"), BOB)
        monkeypatch.setattr("guix_build_service.manager.manager.HOUR", timedelta(0))
        assert (await service.manager.start_build(detail.environment.id, ADA, force=True)).build is not None


async def test_what_cannot_be_resolved_leaves_no_environment(service: Service) -> None:
    installation, pipeline = service

    async def fail(_: Job) -> None:
        raise RefNotFound("The repository has no branch or tag named x.")

    pipeline.steps[BuildState.QUEUED] = fail
    with pytest.raises(RefNotFound):
        await installation.manager.add_environment(NewEnvironment(URL, ref="x"), ADA)
    assert await installation.manager.environments(ADMIN) == []


@pytest.mark.parametrize(
    "given",
    [
        {"repository": "ext::sh -c id"},
        {"repository": "https://ada:secret@forge.example/a"},
        {"ref": "--upload-pack=id"},
        {"subdirectory": "../.."},
        {"name": "x" * 101},
        {"name": "a\u202eb"},
        {"description": "x" * 2001},
        {"memory": 1},
        {"memory": 1 << 60},
        {"cpu": 0.0},
        {"cpu": float("nan")},
        {"cpu": float("inf")},
        {"visibility": Visibility.GROUPS},
        {"groups": ("",)},
        {"groups": tuple(str(number) for number in range(51))},
    ],
)
async def test_what_cannot_be_meant_is_refused(service: Service, given: dict[str, object]) -> None:
    installation, pipeline = service
    with pytest.raises(InvalidInput):
        await ready(installation, **given)
    assert pipeline.resolved == 0


async def test_a_new_commit_is_a_new_version_and_one_can_go_back(service: Service) -> None:
    installation, pipeline = service
    manager = installation.manager
    first = await ready(installation)
    assert first.environment.name == "plots"
    pipeline.commits[str(RepositoryUrl.parse(URL))] = Commit("cd" * 20)
    second = await ready(installation)
    assert second.environment.id == first.environment.id
    assert first.version is not None
    assert second.version is not None
    assert [version.id for version in await manager.versions(first.environment.id, ADA)] == [
        second.version.id,
        first.version.id,
    ]
    back = await manager.rollback(first.environment.id, None, ADA)
    assert back.version == first.version
    assert installation.records.read_environment(first.environment.id).current == first.version.id
    with pytest.raises(Conflict):
        await manager.rollback(first.environment.id, None, ADA)
    # What the branch stands for is there already: it is taken, and nothing is built.
    assert (await manager.start_build(first.environment.id, ADA)).version == second.version
    assert pipeline.made == 2
    forced = await manager.start_build(first.environment.id, ADA, force=True)
    assert (await installation.finished(forced)).state is BuildState.READY
    assert pipeline.made == 3


async def test_a_version_of_which_parts_are_gone_is_built_again(service: Service) -> None:
    installation, pipeline = service
    manager = installation.manager
    first = await ready(installation)
    assert first.version is not None
    pipeline.incomplete.add(first.version.id)
    assert not await manager.is_whole(first.version)
    again = await manager.start_build(first.environment.id, ADA)
    assert not again.state.is_final
    assert (await installation.finished(again)).state is BuildState.READY
    assert pipeline.made == 2
    current = (await manager.environment(first.environment.id, ADA)).version
    assert current is not None
    assert current.id != first.version.id
    assert (await manager.start_build(first.environment.id, ADA)).version == current
    assert pipeline.made == 2


async def test_a_release_that_makes_something_else_of_a_commit_builds_it_again(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    installation, pipeline = service
    asked = await ready(installation)
    assert (await installation.manager.start_build(asked.environment.id, ADA)).state is BuildState.READY
    assert pipeline.made == 1
    monkeypatch.setattr("guix_build_service.queue.reports.RECIPE_VERSION", RECIPE_VERSION + 1)
    await installation.finished(await installation.manager.start_build(asked.environment.id, ADA))
    assert pipeline.made == 2
    assert (await installation.manager.start_build(asked.environment.id, ADA)).state is BuildState.READY
    assert pipeline.made == 2


async def test_what_people_change_is_in_the_record_that_sessions_start_from(service: Service) -> None:
    installation, _ = service
    detail = await ready(installation)
    changes = Changes(
        name=" My  plots ", description="Plots.", memory=2**30, cpu=2, visibility=Visibility.GROUPS, groups=("lab", "lab")
    )
    await installation.manager.update_environment(detail.environment.id, changes, ADA)
    record = installation.records.read_environment(detail.environment.id)
    assert (record.name, record.description, record.memory, record.cpu) == ("My plots", "Plots.", 2**30, 2.0)
    assert (record.visibility, record.groups) == (Visibility.GROUPS, ("lab",))
    assert record.current == detail.environment.current
    with pytest.raises(InvalidInput):
        await installation.manager.update_environment(detail.environment.id, Changes(groups=()), ADA)


async def test_a_record_is_written_where_it_does_not_say_what_the_store_says(service: Service) -> None:
    installation, _ = service
    known = (await ready(installation)).environment
    file = installation.records.environment_folder(known.id) / "environment.json"
    content, written = file.read_text(), file.stat().st_ino
    await installation.queue.holdings.write_record(known.id)
    assert file.stat().st_ino == written  # whatever is written is a new file
    for damaged in (content.replace('"plots"', '"other"'), "{", ""):
        file.write_text(damaged)
        await installation.queue.holdings.write_record(known.id)
        assert file.read_text() == content
    file.unlink()
    await installation.queue.holdings.write_record(known.id)
    assert file.read_text() == content


async def test_another_name_is_another_environment(service: Service) -> None:
    installation, _ = service
    first = await ready(installation)
    assert (await ready(installation, name="plots")).environment.id == first.environment.id
    assert (await ready(installation, name="Other")).environment.id != first.environment.id
    assert (await ready(installation, subdirectory="work")).environment.id != first.environment.id


async def test_a_follower_gets_everything_once_and_in_order(service: Service) -> None:
    installation, pipeline = service
    gate = asyncio.Event()

    async def wait(_: Job) -> None:
        await gate.wait()

    pipeline.steps[BuildState.READING] = wait
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
    gate = asyncio.Event()

    async def wait(_: Job) -> None:
        await gate.wait()

    pipeline.steps[BuildState.READING] = wait
    asked = await installation.manager.add_environment(NewEnvironment(URL, visibility=Visibility.EVERYONE), ADA)
    events = installation.manager.follow(build_of(asked), BOB)
    assert isinstance(await anext(events), BuildChanged)
    await installation.manager.update_environment(asked.environment.id, Changes(visibility=Visibility.PRIVATE), ADA)
    gate.set()
    with pytest.raises(GuixSpawnerError):
        async for _ in events:
            pass


async def test_initial_environments_are_resolved_in_their_turn(service: Service) -> None:
    installation, _ = service
    request = NewEnvironment(URL, name="Example", visibility=Visibility.EVERYONE)
    await installation.manager.add_initial(request, "admin")
    await installation.manager.add_initial(request, "admin")
    [detail] = await installation.manager.environments(BOB)
    build = await installation.finished(detail)
    assert build.state is BuildState.READY
    assert build.commit == "ab" * 20
    assert build.ref == "main"


async def test_many_who_follow_a_build_have_it_read_once(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    installation, pipeline = service
    release = asyncio.Event()

    async def wait(_: Job) -> None:
        await release.wait()

    pipeline.steps[BuildState.BUILDING] = wait
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
    release = asyncio.Event()

    async def wait(_: Job) -> None:
        await release.wait()

    pipeline.steps[BuildState.BUILDING] = wait
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
    release = asyncio.Event()

    async def wait(_: Job) -> None:
        await release.wait()

    pipeline.steps[BuildState.BUILDING] = wait
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
