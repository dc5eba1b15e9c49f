"""Environments shared by name: viewers, editors and owners, on both databases, told of and written down for the spawner."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from guix_build_service.logs.audit import DeedFilter
from guix_build_service.manager.policy import Policy
from guix_build_service.model.environments import Changes, EnvironmentFilter, NewEnvironment, PageRequest, Person
from guix_build_service.model.members import Member, MemberKind, Role
from guix_environment.errors import InvalidInput, LimitReached, NotFound, Refused
from guix_environment.identifiers import EnvironmentId
from guix_environment.records import Visibility
from tests.service.installation import ADA, ADMIN, BOB, CAROL, Installation
from tests.service.scripted import scripted

URL = "https://forge.example/ada/plots"
EVE = Person("eve")


def user(name: str, role: Role = Role.VIEWER) -> Member:
    return Member(MemberKind.USER, name, role)


LAB = Member(MemberKind.GROUP, "lab", Role.EDITOR)


@pytest.fixture
async def service(tmp_path: Path, database_url: str) -> AsyncIterator[Installation]:
    async with scripted(tmp_path, database=database_url, policy=Policy(environments=2)) as (installation, _):
        yield installation


async def shared(service: Installation, *members: Member) -> EnvironmentId:
    """Return an environment of ada's that is ready and shared with MEMBERS."""
    detail = await service.manager.add_environment(NewEnvironment(URL), ADA)
    await service.finished(detail)
    for member in members:
        await service.manager.share(detail.environment.id, member, ADA)
    return detail.environment.id


async def told(service: Installation) -> list[tuple[str, str, dict[str, str]]]:
    found = await service.manager.audit(ADMIN, DeedFilter(), PageRequest(500))
    about = ("user", "group", "role", "to")
    return [
        (each.who, each.action.value, {name: each.about[name] for name in about if name in each.about})
        for each in reversed(found.items)
    ]


async def test_whom_it_is_shared_with_finds_it_and_may_do_what_their_role_says(service: Installation) -> None:
    manager = service.manager
    one = await shared(service, user("bob"), LAB)
    for person, role in ((ADA, Role.OWNER), (ADMIN, Role.OWNER), (CAROL, Role.EDITOR), (BOB, Role.VIEWER)):
        [found] = (await manager.some_environments(person, EnvironmentFilter(), PageRequest())).items
        assert found.environment.role_of(person) is role
        assert (await manager.log(found.build.id if found.build else "", person)).text  # type: ignore[arg-type]
    assert (await manager.some_environments(EVE, EnvironmentFilter(), PageRequest())).items == ()
    with pytest.raises(NotFound):
        await manager.environment(one, EVE)
    await manager.update_environment(one, Changes(name="Better", description="Ours."), CAROL)
    built = await service.finished(await manager.start_build(one, CAROL, force=True))
    assert built.requested_by == "carol"
    await manager.rollback(one, None, CAROL)
    for changes in (
        Changes(visibility=Visibility.EVERYONE),
        Changes(groups=("lab",)),
        Changes(owner="carol"),
        Changes(ref="other"),
        Changes(memory=2**30),
        Changes(cleared=frozenset({"cpu"})),
    ):
        with pytest.raises(Refused):
            await manager.update_environment(one, changes, CAROL)
    for person in (BOB, CAROL):
        with pytest.raises(Refused):
            await manager.share(one, user("eve"), person)
        with pytest.raises(Refused):
            await manager.unshare(one, LAB.kind, LAB.name, person)
        with pytest.raises(Refused):
            await manager.delete_environment(one, person)
    with pytest.raises(Refused, match="editors"):
        await manager.start_build(one, BOB)
    assert (await manager.members(one, CAROL)) == (user("bob"), LAB)
    with pytest.raises(Refused):
        await manager.members(one, BOB)


async def test_the_record_by_which_sessions_start_follows_and_what_is_taken_back_is_gone(service: Installation) -> None:
    one = await shared(service, user("bob"), LAB)
    record = service.records.read_environment(one)
    assert (record.users, record.member_groups) == (("bob",), ("lab",))
    assert record.may_be_started_by("bob", frozenset())
    await service.manager.unshare(one, MemberKind.USER, "bob", ADA)
    record = service.records.read_environment(one)
    assert not record.may_be_started_by("bob", frozenset())
    assert record.may_be_started_by("carol", CAROL.groups)
    with pytest.raises(NotFound):
        await service.manager.environment(one, BOB)
    with pytest.raises(NotFound, match="not shared with them"):
        await service.manager.unshare(one, MemberKind.USER, "bob", ADA)


async def test_a_member_has_one_role_and_may_leave(service: Installation) -> None:
    one = await shared(service, user("bob"), user("bob", Role.EDITOR))
    assert await service.manager.members(one, ADA) == (user("bob", Role.EDITOR),)
    await service.manager.unshare(one, MemberKind.USER, "bob", BOB)
    assert await service.manager.members(one, ADA) == ()
    assert [each for each in await told(service) if each[1] == "shared"] == [
        ("ada", "shared", {"user": "bob", "role": "viewer"}),
        ("ada", "shared", {"user": "bob", "role": "editor"}),
        ("bob", "shared", {"user": "bob", "role": "none"}),
    ]


async def test_what_is_given_away_is_the_other_person_s_and_its_giver_stays_an_editor(service: Installation) -> None:
    one = await shared(service, user("bob"))
    after = await service.manager.update_environment(one, Changes(owner="bob"), ADA)
    assert after.environment.owner == "bob"
    assert after.environment.members == (user("ada", Role.EDITOR),)
    assert service.records.read_environment(one).owner == "bob"
    with pytest.raises(Refused):
        await service.manager.delete_environment(one, ADA)
    assert ("ada", "gave-away", {"to": "bob"}) in await told(service)
    # To give it to whom it is anyway changes nothing.
    assert (await service.manager.update_environment(one, Changes(owner="bob"), BOB)).environment.members == (
        user("ada", Role.EDITOR),
    )
    await service.manager.update_environment(one, Changes(owner="eve"), ADMIN)
    await service.manager.delete_environment(one, EVE)


async def test_nobody_is_given_more_than_they_may_have(service: Installation) -> None:
    one = await shared(service)
    for name in ("a", "b"):
        await service.manager.add_environment(NewEnvironment(URL, name=name), BOB)
    with pytest.raises(LimitReached, match="bob has as many"):
        await service.manager.update_environment(one, Changes(owner="bob"), ADA)
    await service.manager.update_environment(one, Changes(owner="bob"), ADMIN)


@pytest.mark.parametrize(
    "member",
    [user("ada"), user(""), user("  "), user("b" * 256), user("bo\x00b"), user("bo\nb"), user("bob", Role.OWNER)],
)
async def test_what_cannot_be_meant_is_refused(tmp_path: Path, member: Member) -> None:
    async with scripted(tmp_path) as (service, _):
        one = await shared(service)
        with pytest.raises(InvalidInput):
            await service.manager.share(one, member, ADA)
        assert await service.manager.members(one, ADA) == ()
