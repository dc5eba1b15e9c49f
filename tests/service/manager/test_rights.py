"""Who may see, change, add and cancel what, how much of it, and what nobody may ask for."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path

import pytest

from guix_build_service.manager.manager import Manager, MayAdd, Policy
from guix_build_service.model.environments import (
    BuildState,
    Changes,
    NewEnvironment,
    Person,
)
from guix_build_service.pipeline.job import Job
from guix_environment.errors import InvalidInput, LimitReached, NotFound, RefNotFound, Refused
from guix_environment.identifiers import BuildId, EnvironmentId
from guix_environment.records import Visibility
from tests.service.installation import ADA, ADMIN, BOB, CAROL
from tests.service.listing import environments_for
from tests.service.manager.asking import URL, Service, build_of, ready
from tests.service.scripted import scripted

Use = Callable[[Manager, EnvironmentId, BuildId, Person], Awaitable[object]]

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
    assert await environments_for(BOB, installation.manager) == []


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
    pipeline.wait_in(BuildState.BUILDING)
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
        assert [each.environment.name for each in await environments_for(ADA, service.manager)] == ["plots"]
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
    assert await environments_for(ADMIN, installation.manager) == []


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
