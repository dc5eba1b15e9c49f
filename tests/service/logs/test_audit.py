"""The audit log: entries that say what was done, hold nothing secret, and outlive what they tell of."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import delete, update

from guix_build_service.logs import audit
from guix_build_service.logs.audit import Action, Deed, DeedFilter
from guix_build_service.model.environments import BuildState, Changes, Environment, NewEnvironment, PageRequest, Person, now
from guix_build_service.pipeline.job import Job
from guix_build_service.store.tables import audit as table
from guix_environment.errors import NotFound, Refused, StoreUnavailable
from guix_environment.identifiers import EnvironmentId
from guix_environment.records import Visibility
from guix_environment.repository_url import RepositoryUrl
from tests.service.installation import ADA, ADMIN, BOB, Installation
from tests.service.scripted import COMMIT, ScriptedPipeline, scripted

URL = "https://forge.example/ada/plots"
ALL = PageRequest(500)


@pytest.fixture
async def service(tmp_path: Path, database_url: str) -> AsyncIterator[tuple[Installation, ScriptedPipeline]]:
    async with scripted(tmp_path, database=database_url) as running:
        yield running


async def told(installation: Installation, wanted: DeedFilter | None = None) -> list[Deed]:
    """Return the WANTED entries, or all, in the order in which things were done."""
    found = (await installation.manager.audit(ADMIN, wanted or DeedFilter(), ALL)).items
    return list(reversed(found))


def environment() -> Environment:
    moment = now()
    return Environment(
        id=EnvironmentId.new(),
        name="Plots",
        description="",
        repository=RepositoryUrl.parse(URL),
        ref="",
        subdirectory="",
        owner="ada",
        visibility=Visibility.PRIVATE,
        groups=(),
        memory=None,
        cpu=None,
        current=None,
        created=moment,
        updated=moment,
    )


async def test_everything_that_is_done_to_an_environment_is_told(service: tuple[Installation, ScriptedPipeline]) -> None:
    installation, _ = service
    manager = installation.manager
    detail = await manager.add_environment(NewEnvironment(URL, name="Plots"), ADA)
    first = await installation.finished(detail)
    one = detail.environment.id
    await manager.start_build(one, ADA)  # what is there is made current
    second = await installation.finished(await manager.start_build(one, ADMIN, force=True))
    await manager.update_environment(one, Changes(visibility=Visibility.GROUPS, groups=("lab", "course")), ADA)
    await manager.update_environment(one, Changes(name="Better plots", memory=2**30), ADA)
    versions = await manager.versions(one, ADA)
    await manager.rollback(one, None, ADA)
    await manager.session_started((await manager.environment(one, ADA)).environment, "plots-1", None, ADA)
    await manager.delete_environment(one, ADMIN)

    found = await told(installation)
    assert [(each.who, each.action.value) for each in found] == [
        ("ada", "added"),
        ("ada", "built"),
        ("admin", "built"),
        ("ada", "shared"),
        ("ada", "changed"),
        ("ada", "rolled-back"),
        ("ada", "started-session"),
        ("admin", "deleted"),
    ]
    assert {(each.environment, each.owner, each.about["repository"]) for each in found} == {(one, "ada", URL)}
    assert [each.build for each in found[:3]] == [first.id, None, second.id]
    older = {"version": versions[1].id}
    extra = [{key: value for key, value in each.about.items() if key not in {"name", "repository"}} for each in found]
    assert extra == [
        {"commit": COMMIT, "visibility": "private"},
        {"ref": "main", "commit": COMMIT, **older},
        {"ref": "main", "commit": COMMIT, "force": "yes"},
        {"visibility": "groups", "groups": "lab, course"},
        {"changed": "name, memory", "was": "Plots"},
        older,
        {"session": "plots-1", **older},
        {},
    ]
    assert found[-1].about["name"] == "Better plots"


async def test_a_build_that_is_cancelled_is_told_with_who_asked_for_that(
    service: tuple[Installation, ScriptedPipeline],
) -> None:
    installation, pipeline = service

    async def fail(_: Job) -> None:
        raise AssertionError("its turn never comes")

    pipeline.steps[BuildState.RESOLVING] = fail
    await installation.queue.stop()
    detail = await installation.manager.add_environment(NewEnvironment(URL), ADA)
    assert detail.build is not None
    with pytest.raises(NotFound):
        await installation.manager.cancel(detail.build.id, BOB)
    await installation.manager.cancel(detail.build.id, ADMIN)
    await installation.manager.cancel(detail.build.id, ADMIN)  # it has ended, so that nothing is done
    found = await told(installation, DeedFilter(action=Action.CANCELLED))
    assert [(each.who, each.owner, each.build) for each in found] == [("admin", "ada", detail.build.id)]


async def test_what_is_refused_is_not_told_of_as_done(service: tuple[Installation, ScriptedPipeline]) -> None:
    installation, _ = service
    request = NewEnvironment(URL, visibility=Visibility.EVERYONE)
    one = (await installation.manager.add_environment(request, ADA)).environment.id
    for refused in (
        installation.manager.update_environment(one, Changes(name="Mine"), BOB),
        installation.manager.delete_environment(one, BOB),
        installation.manager.start_build(one, BOB),
        installation.manager.rollback(one, None, BOB),
    ):
        with pytest.raises(Refused):
            await refused
    assert [each.action for each in await told(installation)] == [Action.ADDED]


async def test_what_the_configuration_adds_is_told_as_that(service: tuple[Installation, ScriptedPipeline]) -> None:
    installation, _ = service
    await installation.manager.add_initial(NewEnvironment(URL), "admin")
    (entry,) = await told(installation)
    assert (entry.who, entry.action, entry.about["by"]) == ("admin", Action.ADDED, "configuration")
    assert entry.build is not None


async def test_only_administrators_read_it(service: tuple[Installation, ScriptedPipeline]) -> None:
    installation, _ = service
    with pytest.raises(Refused, match="Only administrators"):
        await installation.manager.audit(ADA, DeedFilter(who="ada"), ALL)


async def test_filters_and_parts(service: tuple[Installation, ScriptedPipeline]) -> None:
    installation, _ = service
    deeds = [audit.deed(who, Action.STARTED_SESSION, environment()) for who in ("ada", "bob", "ada", "service/keeper")]
    for each in deeds:
        await installation.store.note(each)
    assert await told(installation) == deeds
    assert await told(installation, DeedFilter(who="ada")) == [deeds[0], deeds[2]]
    assert await told(installation, DeedFilter(environment=deeds[1].environment)) == [deeds[1]]
    assert await told(installation, DeedFilter(owner="bob")) == []
    assert await told(installation, DeedFilter(action=Action.DELETED)) == []
    assert await told(installation, DeedFilter(since=deeds[1].created, until=deeds[3].created)) == deeds[1:3]
    part = await installation.manager.audit(ADMIN, DeedFilter(), PageRequest(3))
    rest = await installation.manager.audit(ADMIN, DeedFilter(), PageRequest(3, part.following))
    assert [*part.items, *rest.items] == deeds[::-1]
    assert rest.following is None


@pytest.mark.parametrize("statement", [update(table).values(who="somebody else"), delete(table)], ids=["change", "remove"])
async def test_the_database_itself_lets_nothing_be_changed_or_removed(
    service: tuple[Installation, ScriptedPipeline], statement: object
) -> None:
    installation, _ = service
    await installation.manager.add_environment(NewEnvironment(URL), ADA)
    before = await told(installation)
    with pytest.raises(StoreUnavailable):
        await installation.store.transaction(lambda c: c.execute(statement))  # type: ignore[call-overload] # either of them
    assert await told(installation) == before


def test_no_entry_holds_a_secret_or_steers_a_terminal() -> None:
    token = "ghp_" + "a" * 36
    hostile = replace(environment(), name=f"\x1b[31mred\x1b[0m\u202e\x00 {token}\nsecond", owner="ada\x07")
    entry = audit.deed(
        "eve\x1b]0;title\x07\r", Action.ADDED, hostile, about={"from": f"https://ada:{token}@forge.example/x"}
    )
    texts = [entry.who, entry.owner, *entry.about.values()]
    assert all(text.isprintable() and token not in text for text in texts)
    assert entry.who == "eve"
    assert entry.about["name"] == "red [secret] second"
    assert len(audit.deed("ada", Action.BUILT, about={"long": "x" * 10_000}).about["long"]) == audit.LONGEST_TEXT


def test_what_did_not_change_is_not_told() -> None:
    before = environment()
    assert list(audit.changes("ada", before, replace(before, updated=now()))) == []
    shared = replace(before, visibility=Visibility.EVERYONE, description="Better")
    assert [each.action for each in audit.changes("ada", before, shared)] == [Action.SHARED, Action.CHANGED]


def test_a_person_is_told_of_by_the_name_that_the_hub_has_for_them() -> None:
    assert audit.deed(Person("service/keeper").name, Action.BUILT).who == "service/keeper"
